from .base import BaseDetector
from .deformable_detr import DINO, DeformableDETR
from .detr import DETR, DetectionTransformer
from .panoptic import Mask2Former, MaskFormer, PanopticFPN, TwoStagePanopticSegmentor
from .single_stage import (
    ATSS,
    FCOS,
    GFL,
    RPN,
    TOOD,
    YOLOV3,
    YOLOX,
    CenterNet,
    RetinaNet,
    RTMDet,
    SingleStageDetector,
    VFNet,
)
from .single_stage_instance_seg import SOLO, CondInst, SingleStageInstanceSegmentor, SOLOv2
from .two_stage import CascadeRCNN, FasterRCNN, FastRCNN, HybridTaskCascade, MaskRCNN, PointRend, TwoStageDetector
