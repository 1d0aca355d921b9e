"""Modules of ``mmdetlike_ops`` that configs name by ``type``."""

from mmdetlike.registry import MODELS
from mmdetlike_ops import (
    ContextBlock,
    CrissCrossAttention,
    GeneralizedAttention,
    MultiScaleDeformableAttention,
    NonLocal2d,
)

for _module in (ContextBlock, CrissCrossAttention, GeneralizedAttention, MultiScaleDeformableAttention, NonLocal2d):
    MODELS.register_module(module=_module)
