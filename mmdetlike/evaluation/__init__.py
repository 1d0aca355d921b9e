"""Predictions in, numbers out: metrics, and the functions that compute them."""

from . import functional
from .evaluator import DumpFirstEvaluator
from .metrics import CocoMetric, CocoPanopticMetric, DOTAMetric, DumpDetResults, DumpProposals, VOCMetric

__all__ = [
    'CocoMetric',
    'CocoPanopticMetric',
    'DOTAMetric',
    'DumpDetResults',
    'DumpFirstEvaluator',
    'DumpProposals',
    'VOCMetric',
    'functional',
]
