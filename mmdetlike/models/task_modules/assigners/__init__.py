from .assign_result import AssignResult
from .grid_assigner import GridAssigner
from .iou_calculator import BboxOverlaps2D
from .max_iou_assigner import MaxIoUAssigner

__all__ = ['AssignResult', 'BboxOverlaps2D', 'GridAssigner', 'MaxIoUAssigner']
