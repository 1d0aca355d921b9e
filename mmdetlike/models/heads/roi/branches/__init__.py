from .base import RoIBranch
from .htc_mask import HTCMaskBranch
from .mask import MaskBranch, mask_targets
from .point_rend_mask import PointRendMaskBranch, point_targets
