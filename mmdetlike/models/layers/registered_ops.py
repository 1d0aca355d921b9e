"""Modules of ``mmdetlike_ops`` and of torch that configs name by ``type``."""

from torch import nn

from mmdetlike.registry import MODELS
from mmdetlike_ops import (
    ContextBlock,
    CrissCrossAttention,
    DeformRoIPool,
    DeformRoIPoolPack,
    GeneralizedAttention,
    ModulatedDeformRoIPool,
    ModulatedDeformRoIPoolPack,
    MultiScaleDeformableAttention,
    NonLocal2d,
    PrRoIPool,
    RoIAlign,
    RoIAlignRotated,
    RoIPool,
    SimpleRoIAlign,
)

_PLUGINS = (ContextBlock, CrissCrossAttention, GeneralizedAttention, MultiScaleDeformableAttention, NonLocal2d)
# pooling layers of region extractors
_REGION_POOLING = (
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPool,
    ModulatedDeformRoIPoolPack,
    PrRoIPool,
    RoIAlign,
    RoIAlignRotated,
    RoIPool,
    SimpleRoIAlign,
)

# here, not where they are defined: mmdetlike_ops imports nothing of this package
for _module in (*_PLUGINS, *_REGION_POOLING, nn.Linear):
    MODELS.register_module(module=_module)
