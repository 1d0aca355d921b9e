from .base import BaseDetector
from .deformable_detr import DINO, DeformableDETR
from .detr import DETR, DetectionTransformer
from .panoptic import Mask2Former, MaskFormer, PanopticFPN, TwoStagePanopticSegmentor
from .single_stage import ATSS, FCOS, RPN, YOLOV3, RetinaNet, SingleStageDetector
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
    'Mask2Former',
    'MaskFormer',
    'PanopticFPN',
    'TwoStagePanopticSegmentor',
    'DETR',
    'DINO',
    'DeformableDETR',
    'DetectionTransformer',
    'ATSS',
    'FCOS',
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
    'YOLOV3',
]
