from .base import BaseDetector
from .co_detr import CoDeformableDETR, CoDINO
from .ddq_detr import DDQDETR
from .deformable_detr import DINO, DeformableDETR
from .detr import DABDETR, DETR, ConditionalDETR, DetectionTransformer
from .distillation import LAD, KnowledgeDistillationSingleStageDetector
from .panoptic import (
    Mask2Former,
    MaskFormer,
    PanopticDeepLab,
    PanopticFPN,
    SemanticSegmentor,
    TwoStagePanopticSegmentor,
)
from .rt_detr import DFINE, RTDETR
from .semi import SemiBaseDetector, SoftTeacher
from .single_stage import (
    ATSS,
    DDOD,
    FCOS,
    FOVEA,
    FSAF,
    GFL,
    NASFCOS,
    PAA,
    RPN,
    SOLO,
    TOOD,
    YOLACT,
    YOLOF,
    YOLOV3,
    YOLOX,
    AutoAssign,
    BoxInst,
    CenterNet,
    CondInst,
    CornerNet,
    EfficientDet,
    RepPointsDetector,
    RetinaNet,
    RTMDet,
    SingleStageDetector,
    SingleStageInstanceSegmentor,
    SOLOv2,
    VFNet,
)
from .two_stage import (
    CascadeRCNN,
    CrowdDet,
    FasterRCNN,
    FastRCNN,
    GridRCNN,
    HybridTaskCascade,
    KeypointRCNN,
    MaskRCNN,
    MaskScoringRCNN,
    PointRend,
    QueryInst,
    SCNet,
    SparseRCNN,
    TridentFasterRCNN,
    TwoStageDetector,
)
