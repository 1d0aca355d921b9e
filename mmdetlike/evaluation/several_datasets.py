"""Scores of several datasets that are validated or tested in one run, each by its own metrics."""

from collections.abc import Sequence

from mmengine.dist import all_gather_object, get_dist_info
from mmengine.evaluator import BaseMetric, Evaluator

from mmdetlike.datasets import ConcatDataset
from mmdetlike.errors import ConfigError
from mmdetlike.registry import EVALUATOR

INDEX = 'concat_idx'  # of samples: their index in the ConcatDataset they are from


@EVALUATOR.register_module()
class MultiDatasetsEvaluator(Evaluator):
    """Metrics of each part of a ``ConcatDataset``; the names of their scores begin with the name of that part.

    A part named ``night`` with a ``CocoMetric`` gives ``night/coco/bbox_mAP``. A sample goes to the metrics of its part
    only, and these know the classes of that part. Parts may have equal image ids.

    Args:
        metrics: For each part, the config of a metric, or a list of them.
        dataset_prefixes: The name of each part.

    Raises:
        ConfigError: Names and metrics aren't as many, or two parts have one name.
    """

    def __init__(self, metrics: Sequence[dict | Sequence[dict]], dataset_prefixes: Sequence[str]) -> None:
        groups = [Evaluator(group).metrics for group in metrics]
        if len(groups) != len(dataset_prefixes):
            raise ConfigError(
                f'MultiDatasetsEvaluator has metrics for {len(groups)} datasets, but {len(dataset_prefixes)} '
                f'dataset_prefixes: {list(dataset_prefixes)}; give one of each for each dataset'
            )
        if len(set(dataset_prefixes)) < len(dataset_prefixes):
            raise ConfigError(f'dataset_prefixes={list(dataset_prefixes)}: give each dataset a name of its own')
        for name, group in zip(dataset_prefixes, groups):
            for metric in group:
                metric.prefix = f'{name}/{metric.prefix}' if metric.prefix else name
        super().__init__([metric for group in groups for metric in group])
        self.groups = groups
        self.dataset: ConcatDataset | None = None
        # beside each result of a metric: the index in the whole dataset of the sample it is of
        self._indices: dict[BaseMetric, list[int]] = {metric: [] for metric in self.metrics}

    def take_dataset(self, dataset) -> None:
        """Learn which samples belong to which metrics.

        Args:
            dataset: The dataset whose samples will be processed.

        Raises:
            ConfigError: It isn't a ``ConcatDataset``, or has another number of parts.
        """
        if not isinstance(dataset, ConcatDataset):
            raise ConfigError(f'MultiDatasetsEvaluator needs a ConcatDataset, got {type(dataset).__name__}')
        if len(dataset.datasets) != len(self.groups):
            raise ConfigError(
                f'MultiDatasetsEvaluator has metrics for {len(self.groups)} datasets, but ConcatDataset consists of '
                f'{len(dataset.datasets)}'
            )
        self.dataset = dataset
        for part, group in zip(dataset.datasets, self.groups):
            for metric in group:
                metric.dataset_meta = part.metainfo

    def process(self, data_samples: Sequence, data_batch=None) -> None:
        """Hand each sample to the metrics of its part.

        Args:
            data_samples: Samples with predictions, or ``to_dict()`` of them.
            data_batch: What the dataloader gave; not handed on, as it may hold samples of several parts.

        Raises:
            ConfigError: A sample doesn't tell its index in the dataset.
        """
        for data_sample in data_samples:
            sample = data_sample if isinstance(data_sample, dict) else data_sample.to_dict()
            if INDEX not in sample:
                raise ConfigError(
                    f'MultiDatasetsEvaluator: image {sample.get("img_id")} has no {INDEX}, which ConcatDataset writes '
                    f'into data samples; end the pipelines of its datasets with PackDetInputs'
                )
            for metric in self.groups[self.dataset.part_of(sample[INDEX])]:
                metric.process(None, [sample])
                # some metrics keep nothing of some samples
                added = len(metric.results) - len(self._indices[metric])
                self._indices[metric] += [sample[INDEX]] * added

    def evaluate(self, size: int) -> dict:
        """The scores of all parts.

        Args:
            size: Number of samples of all of them.
        """
        scores = {}
        for metric in self.metrics:
            count = self._share_out(metric)
            self._indices[metric] = []
            scores.update(metric.evaluate(count))
        return scores

    def _share_out(self, metric: BaseMetric) -> int:
        """Let processes have equal shares of a metric's results, as its own collection expects; returns how many.

        The parts of a dataset aren't spread evenly over processes, and some samples come twice to make whole batches.
        """
        rank, world_size = get_dist_info()
        if world_size == 1:
            return len(metric.results)
        collected: dict[int, list] = {}
        for indices, results in all_gather_object((self._indices[metric], metric.results)):
            of_process: dict[int, list] = {}
            for index, result in zip(indices, results):
                of_process.setdefault(index, []).append(result)
            collected.update(of_process)
        ordered = [result for index in sorted(collected) for result in collected[index]]
        padding = ordered[:1] * (-len(ordered) % world_size)  # cut off by the collection, as it is at the end
        metric.results = (ordered + padding)[rank::world_size]
        return len(ordered)


def introduce(evaluator: Evaluator, dataset) -> None:
    """Tell an evaluator whose samples it will see, before anything is predicted.

    Args:
        evaluator: Of a validation or test, or one that writes predictions besides.
        dataset: The dataset.

    Raises:
        ConfigError: It isn't one that the evaluator can score.
        DataError: It consists of several ones with equal image ids, which the metrics would mix up.
    """
    scoring = getattr(evaluator, 'scoring', evaluator)
    if isinstance(scoring, MultiDatasetsEvaluator):
        scoring.take_dataset(dataset)
    elif isinstance(dataset, ConcatDataset):
        dataset.check_image_ids()
