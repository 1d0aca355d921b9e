from .dynamic_mask_head import DynamicMaskHead
from .fcn_mask_head import FCNMaskHead, MaskHead, masks_of_class
