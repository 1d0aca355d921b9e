from .anchor_free_head import AnchorFreeHead
from .anchor_head import AnchorHead
from .atss_head import ATSSHead
from .autoassign_head import AutoAssignHead, CenterPrior
from .base import DenseHead
from .cascade_rpn_head import CascadeRPNHead, StageCascadeRPNHead
from .centernet_update_head import CenterNetRPNHead, CenterNetUpdateHead
from .condinst_head import BoxInstMaskHead, CondInstBboxHead, CondInstMaskHead
from .ddod_head import DDODHead
from .efficientdet_head import EfficientDetSepBNHead
from .fcos_head import FCOSHead, NASFCOSHead
from .fovea_head import FeatureAlign, FoveaHead
from .free_anchor_head import FreeAnchorRetinaHead
from .fsaf_head import FSAFHead
from .gfl_head import GFLHead, Integral, LDHead
from .guided_anchor_head import FeatureAdaption, GARetinaHead, GARPNHead, GuidedAnchorHead
from .paa_head import LADHead, PAAHead
from .pisa_heads import PISARetinaHead, PISASSDHead
from .predictions import DenseTargets, FlatPredictions
from .reppoints_head import RepPointsHead
from .retina_head import RetinaHead, RetinaSepBNHead
from .rpn_head import RPNHead
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead
from .rtmdet_ins_head import RTMDetInsHead, RTMDetInsSepBNHead
from .sabl_retina_head import SABLRetinaHead
from .ssd_head import SSDHead
from .tood_head import TaskDecomposition, TOODHead
from .vfnet_head import VFNetHead
from .yolact_head import YOLACTHead, YOLACTProtonet
from .yolo_head import YOLOV3Head
from .yolof_head import YOLOFHead
from .yolox_head import YOLOXHead
