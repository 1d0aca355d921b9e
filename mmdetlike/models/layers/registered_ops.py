"""Modules of ``mmdetlike_ops`` that configs name by ``type``."""

from mmdetlike.registry import MODELS
from mmdetlike_ops import MultiScaleDeformableAttention

MODELS.register_module(module=MultiScaleDeformableAttention)
