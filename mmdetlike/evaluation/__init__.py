"""Predictions in, numbers out: metrics, and the functions that compute them."""

from . import functional
from .evaluator import DumpFirstEvaluator, check_metrics, score_names
from .metrics import (
    CityScapesMetric,
    ClassReportMetric,
    CocoMetric,
    CocoPanopticMetric,
    CrowdHumanMetric,
    DOTAMetric,
    DumpDetResults,
    DumpProposals,
    LVISMetric,
    OpenImagesMetric,
    SemSegMetric,
    VOCMetric,
)
from .several_datasets import MultiDatasetsEvaluator, introduce

__all__ = [
    'CityScapesMetric',
    'ClassReportMetric',
    'CocoMetric',
    'CocoPanopticMetric',
    'CrowdHumanMetric',
    'DOTAMetric',
    'DumpDetResults',
    'DumpFirstEvaluator',
    'DumpProposals',
    'LVISMetric',
    'MultiDatasetsEvaluator',
    'OpenImagesMetric',
    'SemSegMetric',
    'VOCMetric',
    'check_metrics',
    'functional',
    'introduce',
    'score_names',
]
