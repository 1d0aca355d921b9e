"""Evaluators that refuse unusable metrics at the start and lose no prediction when a metric fails."""

import logging
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.logging import print_log

from mmdetlike.datasets.errors import warn
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation.metrics import (
    CityScapesMetric,
    ClassReportMetric,
    CocoMetric,
    CocoPanopticMetric,
    CrowdHumanMetric,
    DOTAMetric,
    LVISMetric,
    OpenImagesMetric,
    SemSegMetric,
    VOCMetric,
)
from mmdetlike.registry import EVALUATOR

_OUR_METRICS = (
    CityScapesMetric,
    ClassReportMetric,
    CocoMetric,
    CocoPanopticMetric,
    CrowdHumanMetric,
    DOTAMetric,
    LVISMetric,
    OpenImagesMetric,
    SemSegMetric,
    VOCMetric,
)


def score_names(metric: BaseMetric, classes: Sequence[str]) -> list[str]:
    """Full names of the scores that a metric will give for a dataset of ``classes``; empty if they aren't known.

    They are known of our own metrics, but not of subclasses, which may give others.
    """
    if type(metric) not in _OUR_METRICS or getattr(metric, 'format_only', False):
        return []
    return [f'{metric.prefix}/{name}' if metric.prefix else name for name in metric.score_names(classes)]


def check_metrics(metrics: Sequence[BaseMetric]) -> None:
    """Check the metrics of an evaluator before anything is predicted.

    Raises:
        ConfigError: Two of them give scores of one name, which would be found out after all is predicted.
    """
    if not metrics:
        warn('The evaluator has no metrics (val_evaluator or test_evaluator is empty): nothing will be scored.')
    owners: dict[str, BaseMetric] = {}
    for metric in metrics:
        for name in score_names(metric, ['{class}']):
            if owners.setdefault(name, metric) is not metric:
                kinds = f'{type(owners[name]).__name__} and {type(metric).__name__}'
                raise ConfigError(
                    f"The evaluator's {kinds} both give the score {name!r}; give each a prefix, as prefix='first'."
                )


@EVALUATOR.register_module()
class DumpFirstEvaluator(Evaluator):
    """mmengine's evaluator, which also writes all predictions, even if scores cannot be computed.

    After a metric has failed on a batch, predictions are only written; its error is raised when that is done.

    Args:
        metrics: Configs of metrics, some of them `DumpDetResults`.
        evaluator: Config of an evaluator that scores, too, such as a `MultiDatasetsEvaluator`.

    Attributes:
        scoring: The evaluator of all that don't write predictions.
    """

    def __init__(self, metrics: Sequence[dict], evaluator: dict | None = None) -> None:
        super().__init__(metrics)
        writers = [metric for metric in self.metrics if isinstance(metric, DumpResults)]
        others = [metric for metric in self.metrics if not isinstance(metric, DumpResults)]
        self.writing = Evaluator(writers)
        self.scoring = Evaluator(others)
        if evaluator is not None:
            if others:
                raise ConfigError('metrics that score belong into the evaluator of DumpFirstEvaluator, if it has one')
            self.scoring = EVALUATOR.build(evaluator)
        self.metrics = [*writers, *self.scoring.metrics]
        self.error: Exception | None = None

    def process(self, data_samples: Sequence, data_batch=None) -> None:
        """Hand a batch to all metrics or, after one has failed, to those that write predictions."""
        # writers first: within a batch, a metric that fails keeps those after it from seeing the batch
        self.writing.process(data_samples, data_batch)
        if self.error is not None:
            return
        try:
            self.scoring.process(data_samples, data_batch)
        except Exception as error:
            self.error = error
            message = f'scores cannot be computed, only predictions are written: {type(error).__name__}: {error}'
            print_log(message, logger='current', level=logging.WARNING)

    def evaluate(self, size: int) -> dict:
        """The scores.

        Raises:
            Exception: What a metric has raised, after predictions are written.
        """
        self.writing.evaluate(size)
        if self.error is not None:
            raise self.error
        return self.scoring.evaluate(size)
