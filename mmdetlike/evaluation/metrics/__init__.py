"""The metrics that a runner's evaluator takes."""

from .cityscapes_metric import CityScapesMetric
from .class_report_metric import ClassReportMetric
from .coco_metric import CocoMetric
from .coco_panoptic_metric import CocoPanopticMetric
from .crowdhuman_metric import CrowdHumanMetric
from .dota_metric import DOTAMetric
from .dump import DumpDetResults, DumpProposals
from .lvis_metric import LVISMetric
from .openimages_metric import OpenImagesMetric
from .sem_seg_metric import SemSegMetric
from .voc_metric import VOCMetric

__all__ = [
    'CityScapesMetric',
    'ClassReportMetric',
    'CocoMetric',
    'CocoPanopticMetric',
    'CrowdHumanMetric',
    'DOTAMetric',
    'DumpDetResults',
    'DumpProposals',
    'LVISMetric',
    'OpenImagesMetric',
    'SemSegMetric',
    'VOCMetric',
]
