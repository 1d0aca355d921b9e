from .assign_result import AssignResult
from .atss_assigner import ATSSAssigner
from .grid_assigner import GridAssigner
from .iou_calculator import BboxOverlaps2D
from .max_iou_assigner import MaxIoUAssigner
from .point_range_assigner import PointRangeAssigner

__all__ = [
    'ATSSAssigner',
    'AssignResult',
    'BboxOverlaps2D',
    'GridAssigner',
    'MaxIoUAssigner',
    'PointRangeAssigner',
]
