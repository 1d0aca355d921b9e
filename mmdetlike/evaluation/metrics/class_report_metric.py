"""Precision, recall, F1 and the best score threshold of each class, and which classes are taken for which."""

import csv
import io
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import put, put_text
from mmengine.logging import print_log

from ...errors import ConfigError
from ...registry import METRICS
from ..functional.operating_points import best_point, confusion_matrix, ranked_by_class
from .arguments import check_thresholds
from .convert import boxes_of, prediction_of, truth_of
from .tables import log_table

BACKGROUND = 'background'
_VALUES = ('precision', 'recall', 'F1', 'threshold')


@METRICS.register_module()
class ClassReportMetric(BaseMetric):
    """What to expect of each class at its best score threshold, and a confusion matrix.

    Gives ``report/{class}_F1``, ``_precision``, ``_recall`` and ``_threshold``, the score at which F1 is highest, and
    their means over the classes with objects, ``report/F1`` and so on. The ground truth is what the samples carry as
    ``instances`` (list it in ``PackDetInputs(meta_keys=...)``).

    Args:
        iou_thr: Overlap from which on an object counts as found.
        score_thr: Detections of a lower score are left out of the confusion matrix.
        out_dir: Write ``class_report.csv``, ``confusion_matrix.csv`` and ``confusion_matrix.png`` to this folder.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'report' if None.
    """

    default_prefix = 'report'
    reads_instances = True  # the ground truth is that of the samples

    def __init__(
        self,
        iou_thr: float = 0.5,
        score_thr: float = 0.3,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_thresholds('iou_thr', [iou_thr])
        if not isinstance(score_thr, (int, float)) or not 0 <= score_thr <= 1:
            raise ConfigError(f'score_thr={score_thr!r} should be a number from 0 to 1.')
        self.iou_thr = iou_thr
        self.score_thr = score_thr
        self.out_dir = out_dir

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix, for a dataset of ``classes``."""
        return [*_VALUES, *(f'{name}_{value}' for name in classes for value in _VALUES)]

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep ``pred_instances`` and ``instances`` of ``data_samples`` (``DetDataSample.to_dict()``)."""
        name = type(self).__name__
        for sample in data_samples:
            instances = truth_of(sample)['instances']
            truth = {
                'bboxes': boxes_of(np.array([row['bbox'] for row in instances], np.float64), name),
                'labels': np.array([row['bbox_label'] for row in instances], np.int64),
                'ignore': np.array([bool(row.get('ignore_flag', 0)) for row in instances], bool),
            }
            prediction = prediction_of(sample, name)
            self.results.append((truth, {key: prediction[key] for key in ('bboxes', 'scores', 'labels')}))

    def compute_metrics(self, results: list[tuple[dict, dict]]) -> dict[str, float]:
        """Scores of everything that ``process`` kept."""
        truths, predictions = map(list, zip(*results)) if results else ([], [])
        classes = self.dataset_meta['classes']
        rankings = ranked_by_class(predictions, truths, len(classes), self.iou_thr)
        points = [best_point(*ranking) for ranking in rankings]
        table = np.array([[point.precision, point.recall, point.f1, point.threshold] for point in points])
        known = table[~np.isnan(table[:, 0])]
        means = known.mean(0) if len(known) else np.full(len(_VALUES), -1.0)
        rows = [[name, *values] for name, values in zip(classes, table.tolist())]
        log_table(f'each class at its best threshold, IoU {self.iou_thr:g}', ['class', *_VALUES], rows)
        if self.out_dir is not None:
            matrix = confusion_matrix(predictions, truths, len(classes), self.score_thr, self.iou_thr)
            self._write(classes, rows, matrix)
        scores = dict(zip(_VALUES, means.tolist()))
        return scores | {f'{name}_{key}': value for name, *values in rows for key, value in zip(_VALUES, values)}

    def _write(self, classes: Sequence[str], rows: list[list], matrix: np.ndarray) -> None:
        names = [*classes, BACKGROUND]
        put_text(_csv([['class', *_VALUES], *rows]), osp.join(self.out_dir, 'class_report.csv'))
        table = [['annotated \\ found', *names], *([name, *row] for name, row in zip(names, matrix.tolist()))]
        put_text(_csv(table), osp.join(self.out_dir, 'confusion_matrix.csv'))
        put(confusion_png(matrix, names), osp.join(self.out_dir, 'confusion_matrix.png'))
        print_log(f'class_report.csv, confusion_matrix.csv and .png are in {self.out_dir}', logger='current')


def _csv(rows: Sequence[Sequence]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def confusion_png(matrix: np.ndarray, names: Sequence[str]) -> bytes:
    """A PNG of a confusion matrix, rows in percent of the annotated objects of a class."""
    from matplotlib.figure import Figure  # here, as only few who import the metrics draw

    share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = max(4.0, 0.35 * len(names) + 2)
    figure = Figure(figsize=(side, side), layout='constrained')
    axes = figure.add_subplot()
    axes.imshow(share, cmap='viridis', vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel('found')
    axes.set_ylabel('annotated')
    # numbers in the cells of many classes could not be read
    for row, column in np.argwhere(share >= 0.5) if len(names) <= 40 else ():
        color = 'black' if share[row, column] > 60 else 'white'
        axes.text(column, row, f'{share[row, column]:.0f}', ha='center', va='center', color=color, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=100)
    return content.getvalue()
