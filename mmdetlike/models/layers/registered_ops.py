"""Modules of ``mmdetlike_ops`` that configs name by ``type``."""

from mmdetlike.registry import MODELS
from mmdetlike_ops import CrissCrossAttention, MultiScaleDeformableAttention

for _module in (CrissCrossAttention, MultiScaleDeformableAttention):
    MODELS.register_module(module=_module)
