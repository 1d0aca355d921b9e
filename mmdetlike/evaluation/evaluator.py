"""Evaluation that doesn't lose predictions when a score can't be computed."""

import logging
from collections.abc import Sequence

from mmengine.evaluator import DumpResults, Evaluator
from mmengine.logging import print_log

from mmdetlike.registry import EVALUATOR


@EVALUATOR.register_module()
class DumpFirstEvaluator(Evaluator):
    """mmengine's evaluator, with predictions written before scores are computed, and whatever becomes of these.

    A metric that fails on a batch sees no other; its error is raised when all predictions are written.

    Args:
        metrics: Configs of metrics, some of them `DumpDetResults`.
    """

    def __init__(self, metrics: Sequence[dict]) -> None:
        super().__init__(metrics)
        self.metrics.sort(key=lambda metric: not isinstance(metric, DumpResults))
        self.error: Exception | None = None

    def process(self, data_samples: Sequence, data_batch=None) -> None:
        """Hand a batch to all metrics that are left."""
        if self.error is not None:
            self._dumps().process(data_samples, data_batch)
            return
        try:
            super().process(data_samples, data_batch)
        except Exception as error:
            self.error = error
            message = f'scores cannot be computed, only predictions are written: {type(error).__name__}: {error}'
            print_log(message, logger='current', level=logging.WARNING)

    def evaluate(self, size: int) -> dict:
        """The scores.

        Raises:
            Exception: What a metric has raised, after predictions are written.
        """
        if self.error is not None:
            self._dumps().evaluate(size)
            raise self.error
        return super().evaluate(size)

    def _dumps(self) -> Evaluator:
        return Evaluator([metric for metric in self.metrics if isinstance(metric, DumpResults)])
