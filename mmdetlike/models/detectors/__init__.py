from .base import BaseDetector
from .conditional_detr import ConditionalDETR
from .dab_detr import DABDETR
from .deformable_detr import DINO, DeformableDETR
from .detr import DETR, DetectionTransformer
from .panoptic import Mask2Former, MaskFormer, PanopticFPN, TwoStagePanopticSegmentor
from .semi import SemiBaseDetector
from .single_stage import (
    ATSS,
    FCOS,
    GFL,
    RPN,
    SOLO,
    TOOD,
    YOLOV3,
    YOLOX,
    CenterNet,
    CondInst,
    RetinaNet,
    RTMDet,
    SingleStageDetector,
    SingleStageInstanceSegmentor,
    SOLOv2,
    VFNet,
)
from .soft_teacher import SoftTeacher
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
