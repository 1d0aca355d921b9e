"""Modules of ``mmdetlike_ops`` and of torch that configs name by ``type``."""

from torch import nn

import mmdetlike_ops as ops
from mmdetlike.registry import MODELS

# plugins of backbones
_CONTEXT = (ops.ContextBlock, ops.NonLocal2d)
_ATTENTION = (ops.CrissCrossAttention, ops.GeneralizedAttention, ops.MultiScaleDeformableAttention)
# pooling layers of region extractors
_POOLING = (ops.PrRoIPool, ops.RoIAlign, ops.RoIAlignRotated, ops.RoIPool, ops.SimpleRoIAlign)
_DEFORMABLE = (ops.DeformRoIPool, ops.DeformRoIPoolPack, ops.ModulatedDeformRoIPool, ops.ModulatedDeformRoIPoolPack)

# here, not where they are defined: mmdetlike_ops imports nothing of this package
for _module in (*_CONTEXT, *_ATTENTION, *_POOLING, *_DEFORMABLE, nn.Linear):
    MODELS.register_module(module=_module)
