from .atss_assigner import ATSSAssigner
from .base_assigner import AssignResult, BaseAssigner, points_inside
from .center_region_assigner import CenterRegionAssigner
from .dynamic_soft_label_assigner import DynamicSoftLabelAssigner
from .fovea_assigner import FoveaAssigner
from .grid_assigner import GridAssigner
from .hungarian_assigner import HungarianAssigner
from .iou_calculator import BboxOverlaps2D, RBbox2HBboxOverlaps2D, RBboxOverlaps2D
from .match_cost import (
    BBoxL1Cost,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    FocalLossCost,
    IoUCost,
    MatchCost,
)
from .max_iou_assigner import ApproxMaxIoUAssigner, MaxIoUAssigner
from .multi_instance_assigner import MultiInstanceAssigner, MultiInstanceAssignResult
from .point_assigner import PointAssigner
from .point_range_assigner import PointRangeAssigner
from .region_assigner import RegionAssigner
from .sim_ota_assigner import SimOTAAssigner
from .task_aligned_assigner import TaskAlignedAssigner
from .uniform_assigner import UniformAssigner
