"""Predictions in, numbers out: metrics, and the functions that compute them."""

from . import functional
from .metrics import CocoMetric, DumpDetResults, DumpProposals, VOCMetric

__all__ = ['CocoMetric', 'DumpDetResults', 'DumpProposals', 'VOCMetric', 'functional']
