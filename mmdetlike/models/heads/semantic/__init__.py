from .base import SemanticHead
from .deeplab_head import DeepLabDecoder, DeepLabV3Head, DeepLabV3PlusHead
from .panoptic_deeplab_head import CenterFusionHead, CenterOffsetHead, PanopticDeepLabSemanticHead
from .panoptic_fpn_head import PanopticFPNHead, SemanticFPNHead
from .panoptic_fusion import INSTANCE_OFFSET, HeuristicFusionHead, MaskFormerFusionHead
