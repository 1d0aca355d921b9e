from .base import BaseDetector
from .conditional_detr import ConditionalDETR
from .dab_detr import DABDETR
from .deformable_detr import DINO, DeformableDETR
from .detr import DETR, DetectionTransformer
from .distillation import LAD, KnowledgeDistillationSingleStageDetector
from .panoptic import Mask2Former, MaskFormer, PanopticFPN, TwoStagePanopticSegmentor
from .single_stage import (
    ATSS,
    DDOD,
    FCOS,
    FOVEA,
    FSAF,
    GFL,
    PAA,
    RPN,
    SOLO,
    TOOD,
    YOLOF,
    YOLOV3,
    YOLOX,
    AutoAssign,
    CenterNet,
    CondInst,
    RetinaNet,
    RTMDet,
    SingleStageDetector,
    SingleStageInstanceSegmentor,
    SOLOv2,
    VFNet,
)
from .two_stage import (
    CascadeRCNN,
    FasterRCNN,
    FastRCNN,
    HybridTaskCascade,
    KeypointRCNN,
    MaskRCNN,
    MaskScoringRCNN,
    PointRend,
    TwoStageDetector,
)
