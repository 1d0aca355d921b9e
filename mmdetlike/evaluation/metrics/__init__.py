"""The metrics that a runner's evaluator takes."""

from .coco_metric import CocoMetric
from .coco_panoptic_metric import CocoPanopticMetric
from .dota_metric import DOTAMetric
from .dump import DumpDetResults, DumpProposals
from .voc_metric import VOCMetric

__all__ = ['CocoMetric', 'CocoPanopticMetric', 'DOTAMetric', 'DumpDetResults', 'DumpProposals', 'VOCMetric']
