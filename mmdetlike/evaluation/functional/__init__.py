"""The numbers behind the metrics, as plain functions of arrays."""

from .mean_ap import average_precision, eval_map
from .recall import eval_recalls

__all__ = ['average_precision', 'eval_map', 'eval_recalls']
