from .base import RoIBranch
from .grid import GridBranch
from .htc_mask import HTCMaskBranch
from .keypoint import KeypointBranch
from .mask import MaskBranch, PositiveMasks, mask_targets
from .mask_scoring import MaskScoringBranch
from .point_mask import PointMaskBranch
from .point_rend_mask import PointRendMaskBranch, point_targets
from .query_mask import QueryMaskBranch
from .scnet_mask import SCNetMaskBranch
