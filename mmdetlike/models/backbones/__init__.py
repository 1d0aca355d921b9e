from .convnext import ConvNeXt
from .csp_darknet import CSPDarknet, CSPNeXt
from .darknet import Darknet
from .detectors_resnet import DetectoRS_ResNet, DetectoRS_ResNeXt
from .efficientnet import EfficientNet
from .hgnet_v2 import HGNetV2
from .hourglass import HourglassNet
from .hrnet import HRNet
from .mobilenet import MobileNetV2, MobileNetV3
from .pvt import PyramidVisionTransformer, PyramidVisionTransformerV2
from .regnet import RegNet
from .res_layer import ResLayer, SimplifiedBasicBlock
from .resnet import PResNet, ResNet, ResNetV1d
from .resnet_variants import Res2Net, ResNeSt, ResNeXt
from .ssd_vgg import SSDVGG
from .swin import SwinTransformer
from .timm_backbone import TIMMBackbone
from .trident_resnet import TridentResNet
from .vit import ViT
