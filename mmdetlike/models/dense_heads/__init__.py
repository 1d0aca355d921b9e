from .anchor_free_head import AnchorFreeHead
from .anchor_head import AnchorHead
from .atss_head import ATSSHead
from .centernet_head import CenterNetHead
from .condinst_head import CondInstBboxHead, CondInstMaskHead
from .dense_head import DenseHead, DenseTargets, FlatPredictions
from .detr_head import DeformableDETRHead, DETRHead, DINOHead, QueryHead, QueryOutputs
from .fcos_head import FCOSHead
from .gfl_head import GFLHead, Integral
from .maskformer_head import Mask2FormerHead, MaskFormerHead
from .retina_head import RetinaHead, RetinaSepBNHead
from .rpn_head import RPNHead
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead
from .rtmdet_ins_head import RTMDetInsHead, RTMDetInsSepBNHead
from .solo_head import DecoupledSOLOHead, DecoupledSOLOLightHead, SOLOHead, SOLOV2Head
from .ssd_head import SSDHead
from .tood_head import TaskDecomposition, TOODHead
from .vfnet_head import VFNetHead
from .yolo_head import YOLOV3Head
from .yolox_head import YOLOXHead
