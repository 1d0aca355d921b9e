"""What several networks share: builders of conv, norm and activation layers, and small blocks made of them."""

from mmengine.model import (
    bias_init_with_prob,
    caffe2_xavier_init,
    constant_init,
    kaiming_init,
    normal_init,
    trunc_normal_init,
    uniform_init,
    xavier_init,
)

from .activation import Clamp, HSigmoid, Swish, build_activation_layer
from .conv import Conv2dAdaptivePadding, build_conv_layer
from .conv_module import ConvModule, DepthwiseSeparableConvModule
from .drop import Dropout, DropPath, build_dropout, drop_path
from .family import LayerFamily
from .fuse import fuse_conv_bn
from .inverted_residual import InvertedResidual
from .norm import FrozenBatchNorm2d, LayerNorm2d, SyncBatchNorm, build_norm_layer, is_norm, norm_abbreviation
from .padding import build_padding_layer
from .plugin import build_plugin_layer
from .scale import Scale
from .se_layer import ChannelAttention, DyReLU, SELayer
from .upsample import PixelShufflePack, build_upsample_layer

__all__ = [
    'ChannelAttention',
    'Clamp',
    'Conv2dAdaptivePadding',
    'ConvModule',
    'DepthwiseSeparableConvModule',
    'Dropout',
    'DropPath',
    'DyReLU',
    'FrozenBatchNorm2d',
    'HSigmoid',
    'InvertedResidual',
    'LayerFamily',
    'LayerNorm2d',
    'PixelShufflePack',
    'SELayer',
    'Scale',
    'Swish',
    'SyncBatchNorm',
    'bias_init_with_prob',
    'build_activation_layer',
    'build_conv_layer',
    'build_dropout',
    'build_norm_layer',
    'build_padding_layer',
    'build_plugin_layer',
    'build_upsample_layer',
    'caffe2_xavier_init',
    'constant_init',
    'drop_path',
    'fuse_conv_bn',
    'is_norm',
    'kaiming_init',
    'norm_abbreviation',
    'normal_init',
    'trunc_normal_init',
    'uniform_init',
    'xavier_init',
]
