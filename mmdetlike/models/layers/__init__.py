"""Layers that several networks share: builders of conv, norm and activation layers, and blocks made of them.

``init_cfg``, wherever a block takes it, is the weight initialization of mmengine's ``BaseModule``.
"""

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

from mmdetlike_ops import ContextBlock, GeneralizedAttention, MultiScaleDeformableAttention, NonLocal2d

from . import registered_ops
from .activation import Clamp, HSigmoid, Swish, build_activation_layer
from .conv import Conv2dAdaptivePadding, ConvWS2d, build_conv_layer, build_padding_layer
from .conv_module import ConvModule, DepthwiseSeparableConvModule, SeparableConv
from .conv_norm_activation import ASPP, ConvNormActivation, ShapeSpec, get_norm
from .csp_layer import CSPLayer, CSPNeXtBlock, DarknetBottleneck, Focus, SPPBottleneck, conv_class
from .drop import Dropout, DropPath, build_dropout
from .ema import ExpMomentumEMA
from .family import LayerFamily
from .fuse import fuse_conv_bn
from .inverted_residual import EdgeResidual, InvertedResidual
from .mask_features import MaskFeatures
from .norm import FrozenBatchNorm2d, LayerNorm2d, SyncBatchNorm, build_norm_layer, is_norm, norm_abbreviation
from .normed import L2Norm, NormedConv2d, NormedLinear
from .part import build_part
from .plugin import build_plugin_layer
from .recompute import maybe_recompute
from .se_layer import ChannelAttention, DyReLU, SELayer
from .tower import Scale, build_tower, build_two_towers, run_tower, share_convolutions
from .transformer import (
    FFN,
    MLP,
    AdaptivePadding,
    DetrTransformerDecoder,
    DetrTransformerDecoderLayer,
    DetrTransformerEncoder,
    DynamicConv,
    LayerScale,
    LearnedPositionalEncoding,
    MultiheadAttention,
    PatchEmbed,
    PatchMerging,
    ShiftWindowMSA,
    SinePositionalEncoding,
    Transformer,
    WindowMSA,
    build_transformer,
    coordinate_to_encoding,
    inverse_sigmoid,
    nchw_to_nlc,
    nlc_to_nchw,
)
from .upsample import ConvUpsample, PixelShufflePack, build_upsample_layer
