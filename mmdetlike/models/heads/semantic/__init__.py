from .panoptic_fpn_head import PanopticFPNHead, SemanticFPNHead
from .panoptic_fusion import INSTANCE_OFFSET, HeuristicFusionHead, MaskFormerFusionHead
