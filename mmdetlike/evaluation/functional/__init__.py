"""The numbers behind the metrics, as plain functions of arrays."""

from ...structures.panoptic import INSTANCE_OFFSET
from .mean_ap import average_precision, eval_map
from .panoptic import PanopticCounts, count_segments, panoptic_quality
from .recall import eval_recalls

__all__ = [
    'INSTANCE_OFFSET',
    'PanopticCounts',
    'average_precision',
    'count_segments',
    'eval_map',
    'eval_recalls',
    'panoptic_quality',
]
