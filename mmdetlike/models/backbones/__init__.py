from .csp_darknet import CSPDarknet
from .cspnext import CSPNeXt
from .darknet import Darknet
from .efficientnet import EfficientNet
from .mobilenet_v2 import MobileNetV2
from .resnet import ResNet, ResNetV1d
from .ssd_vgg import SSDVGG

__all__ = ['CSPDarknet', 'CSPNeXt', 'Darknet', 'EfficientNet', 'MobileNetV2', 'ResNet', 'ResNetV1d', 'SSDVGG']
from .pvt import PyramidVisionTransformer, PyramidVisionTransformerV2
from .swin import SwinTransformer
from .timm_backbone import TIMMBackbone

__all__ = [
    'PyramidVisionTransformer',
    'PyramidVisionTransformerV2',
    'ResNet',
    'ResNetV1d',
    'SwinTransformer',
    'TIMMBackbone',
]
from .hrnet import HRNet
from .regnet import RegNet
from .res2net import Res2Net
from .resnest import ResNeSt
from .resnext import ResNeXt

__all__ = ['HRNet', 'RegNet', 'Res2Net', 'ResNeSt', 'ResNeXt', 'ResNet', 'ResNetV1d']
