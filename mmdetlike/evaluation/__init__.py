"""Predictions in, numbers out: metrics, and the functions that compute them."""

from . import functional
from .evaluator import DumpFirstEvaluator, check_metrics, score_names
from .metrics import (
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

__all__ = [
    'ClassReportMetric',
    'CocoMetric',
    'CocoPanopticMetric',
    'CrowdHumanMetric',
    'DOTAMetric',
    'DumpDetResults',
    'DumpFirstEvaluator',
    'DumpProposals',
    'LVISMetric',
    'OpenImagesMetric',
    'SemSegMetric',
    'VOCMetric',
    'check_metrics',
    'functional',
    'score_names',
]
