from .base import BaseDetector
from .single_stage import RPN, RetinaNet, SingleStageDetector
from .two_stage import FasterRCNN, FastRCNN, TwoStageDetector

__all__ = [
    'RPN',
    'BaseDetector',
    'FastRCNN',
    'FasterRCNN',
    'RetinaNet',
    'SingleStageDetector',
    'TwoStageDetector',
]
