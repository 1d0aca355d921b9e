"""A dataset of a config beside predictions for it, as the tools that look at results need them."""

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope

from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.records import same_id
from mmdetlike.evaluation.metrics.convert import boxes_of, prediction_of
from mmdetlike.registry import DATASETS
from mmdetlike.utils.config import load_config, located, require
from mmdetlike.utils.run_config import warn_of_unread_settings


class ScoredData:
    """The test or validation set of a config, whose annotations predictions are held against.

    Args:
        config: The config file.
        cfg_options: Overrides of it.
        split: 'test' or 'val'.
    """

    def __init__(self, config: str | Path, cfg_options: dict | None, split: str = 'test') -> None:
        self.cfg: Config = load_config(config, cfg_options)
        self.split = split
        require(self.cfg, f'{split}_dataloader')
        warn_of_unread_settings(self.cfg, cfg_options)
        init_default_scope(self.cfg.default_scope)
        with located(self.cfg):
            self.dataset = DATASETS.build(self.cfg[f'{split}_dataloader'].dataset)

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""
        return self.dataset.metainfo['classes']

    @cached_property
    def indices(self) -> dict[str, int]:
        """The index in the dataset of each image, by ``same_id`` of its id."""
        return {same_id(self.info(index)['img_id']): index for index in range(len(self.dataset))}

    def info(self, index: int) -> dict:
        """What the dataset knows of an image, its ``instances`` among it."""
        return self.dataset.get_data_info(index)

    def index_of(self, sample: dict, path: str | Path) -> int:
        """The index of the image that a sample is of.

        Raises:
            DataError: The dataset doesn't have it.
        """
        index = self.indices.get(same_id(sample['img_id']))
        if index is None:
            raise DataError(
                f'{path} has a prediction for an image of id {sample["img_id"]!r}, which is none of the '
                f'{len(self.indices)} of the {self.split} set of {self.cfg.filename}'
            )
        return index

    def with_truth(self, samples: Sequence[dict], path: str | Path) -> Iterator[dict]:
        """The samples with what is annotated, as ``instances``, for metrics that take it from there."""
        for sample in samples:
            info = self.info(self.index_of(sample, path))
            known = {key: info[key] for key in ('instances', 'img_path') if key in info}
            if 'height' in info and 'width' in info:
                known['ori_shape'] = (info['height'], info['width'])
            yield {**known, **sample}

    def evaluate(self, samples: Sequence[dict], path: str | Path, metrics: list | dict | None = None) -> dict:
        """Scores of predictions.

        Args:
            samples: The predictions.
            path: Their file, for messages.
            metrics: Configs of metrics; those of the config if None.
        """
        if metrics is None:
            require(self.cfg, f'{self.split}_evaluator')
            metrics = self.cfg[f'{self.split}_evaluator']
        with located(self.cfg):
            evaluator = Evaluator(copy.deepcopy(metrics))
        evaluator.dataset_meta = self.dataset.metainfo
        for sample in self.with_truth(samples, path):
            evaluator.process([sample])
        return evaluator.evaluate(len(samples))


def metrics_of_boxes(cfg: Config, split: str) -> list[dict]:
    """The metrics of a config for predictions without masks and keypoints: those of them are of boxes in their place.

    Raises:
        ConfigError: The config has no metrics.
    """
    require(cfg, f'{split}_evaluator')
    metrics = copy.deepcopy(cfg[f'{split}_evaluator'])
    metrics = [metrics] if isinstance(metrics, dict) else list(metrics)
    for settings in metrics:
        asked = settings.get('metric')
        names = [asked] if isinstance(asked, str) else list(asked or ())
        if {'segm', 'keypoints'} & set(names):
            settings['metric'] = list(
                dict.fromkeys('bbox' if name in ('segm', 'keypoints') else name for name in names)
            )
            print(f'{settings["type"]}: metric {names} is {settings["metric"]} here, as only boxes are fused')
    return metrics


def boxes_beside_truth(sample: dict) -> tuple[dict, dict]:
    """Of one image what is predicted and what is annotated, as the functions of ``evaluation.functional`` take it.

    Args:
        sample: From ``ScoredData.with_truth``.
    """
    rows = sample.get('instances', ())
    boxes = np.array([row['bbox'] for row in rows], dtype=np.float64)
    truth = {
        'bboxes': boxes_of(boxes, 'this tool'),
        'labels': np.array([row['bbox_label'] for row in rows], dtype=np.int64),
        'ignore': np.array([bool(row.get('ignore_flag', 0)) for row in rows], dtype=bool),
    }
    return prediction_of(sample, 'this tool'), truth


def print_scores(scores: dict[str, float]) -> None:
    """Print scores, one a line."""
    width = max(map(len, scores), default=0)
    for name, value in scores.items():
        print(f'{name:<{width}}  {value:.4f}' if isinstance(value, float) else f'{name:<{width}}  {value}')
