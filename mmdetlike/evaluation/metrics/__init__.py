"""What plugs into a runner's evaluator."""

from .coco_metric import CocoMetric
from .dump import DumpDetResults, DumpProposals
from .voc_metric import VOCMetric

__all__ = ['CocoMetric', 'DumpDetResults', 'DumpProposals', 'VOCMetric']
