from .base import RoIBranch
from .grid import GridBranch
from .keypoint import KeypointBranch
from .mask import MaskBranch, PositiveMasks, mask_targets
from .mask_scoring import MaskScoringBranch
from .point_mask import PointMaskBranch
from .query_mask import QueryMaskBranch
from .scnet_mask import SCNetMaskBranch
