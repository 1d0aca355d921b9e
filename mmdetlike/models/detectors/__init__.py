from .base import BaseDetector
from .single_stage import RPN, RetinaNet, SingleStageDetector
from .two_stage import (
    CascadeRCNN,
    FasterRCNN,
    FastRCNN,
    HybridTaskCascade,
    MaskRCNN,
    PointRend,
    TwoStageDetector,
)

__all__ = [
    'RPN',
    'BaseDetector',
    'CascadeRCNN',
    'FastRCNN',
    'FasterRCNN',
    'HybridTaskCascade',
    'MaskRCNN',
    'PointRend',
    'RetinaNet',
    'SingleStageDetector',
    'TwoStageDetector',
]
