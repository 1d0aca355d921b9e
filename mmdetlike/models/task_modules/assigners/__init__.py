from .atss_assigner import ATSSAssigner
from .base_assigner import AssignResult, BaseAssigner, points_inside
from .dynamic_k import DynamicSoftLabelAssigner, SimOTAAssigner
from .geometric_assigners import CenterRegionAssigner, FoveaAssigner, PointAssigner, PointRangeAssigner, RegionAssigner
from .iou_calculator import BboxOverlaps2D, RBbox2HBboxOverlaps2D, RBboxOverlaps2D
from .matching import (
    BBoxL1Cost,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    FocalLossCost,
    HungarianAssigner,
    IoUCost,
    MatchCost,
)
from .max_iou_assigner import (
    ApproxMaxIoUAssigner,
    GridAssigner,
    MaxIoUAssigner,
    MultiInstanceAssigner,
    MultiInstanceAssignResult,
)
from .task_aligned_assigner import TaskAlignedAssigner
from .uniform_assigner import UniformAssigner
