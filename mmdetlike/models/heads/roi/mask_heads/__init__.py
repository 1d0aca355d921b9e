from .coarse_mask_head import CoarseMaskHead
from .dynamic_mask_head import DynamicMaskHead
from .fcn_mask_head import FCNMaskHead, MaskHead, masks_of_class
from .htc_heads import FusedSemanticHead, HTCMaskHead
from .scnet_heads import FeatureRelayHead, GlobalContextHead, SCNetMaskHead, SCNetSemanticHead
