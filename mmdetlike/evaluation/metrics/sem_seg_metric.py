"""Overlap of predicted and annotated classes of pixels."""

import os.path as osp
from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import put

from ...datasets.errors import DataError
from ...datasets.transforms.image_io import LARGEST_VALUE, labels_of_values, read_label_map
from ...errors import ConfigError
from ...registry import METRICS
from ..functional.semantic import PixelCounts, class_scores, count_pixels
from .convert import to_numpy
from .tables import log_table

_IGNORED = 255
# what each kind of metric gives, as the mean over classes
_MEANS = {
    'mIoU': {'mIoU': 'IoU', 'mACC': 'Acc'},
    'mDice': {'mDice': 'Dice', 'mACC': 'Acc'},
    'mFscore': {'mFscore': 'Fscore', 'mPrecision': 'Precision', 'mRecall': 'Recall'},
}


@METRICS.register_module()
class SemSegMetric(BaseMetric):
    """Intersection over union and accuracy of classes of pixels, in percent.

    Gives ``sem_seg/mIoU`` and ``mACC``, means over the classes that are annotated somewhere, ``fwIoU``, the mean
    weighted by how many pixels a class has, and ``pACC``, the share of pixels that are right (arXiv:1411.4038). The
    truth is ``gt_sem_seg`` of the samples (``LoadAnnotations(with_seg=True)`` after ``Resize`` in the test pipeline),
    else the file ``seg_map_path`` that their metainfo names. Values of the file become labels by the ``label_map`` of
    the dataset, or as ``LoadAnnotations(reduce_zero_label=True)`` does it where the metainfo has ``reduce_zero_label``.

    Args:
        iou_metrics: One or several of 'mIoU', 'mDice' and 'mFscore'; the last adds ``mPrecision`` and ``mRecall``.
        beta: How much more recall weighs than precision in 'mFscore'.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        output_dir: Write the predicted classes of each image to ``{output_dir}/{name of the image}.png``.
        format_only: Only write predictions.
        backend_args: Where truth is read from, as for ``mmengine.fileio.get``.
        prefix: First part of the result names, 'sem_seg' if None.
    """

    default_prefix = 'sem_seg'

    def __init__(
        self,
        iou_metrics: Sequence[str] = ('mIoU',),
        beta: float = 1,
        collect_device: str = 'cpu',
        output_dir: str | None = None,
        format_only: bool = False,
        backend_args: dict | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.iou_metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        unknown = [name for name in self.iou_metrics if name not in _MEANS]
        if unknown or not self.iou_metrics:
            raise ConfigError(f'iou_metrics should be of {", ".join(_MEANS)}, got {iou_metrics!r}.')
        if format_only and output_dir is None:
            raise ConfigError('format_only writes predictions to files: set output_dir.')
        if not isinstance(beta, (int, float)) or not beta > 0:
            raise ConfigError(f'beta={beta!r} should be a number above 0.')
        self.beta = beta
        self.output_dir = output_dir
        self.format_only = format_only
        self.backend_args = backend_args

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix; ``classes`` make no difference."""
        means = {name: None for metric in self.iou_metrics for name in _MEANS[metric]}
        return [*means, 'fwIoU', 'pACC']

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Count pixels of ``data_samples`` (``DetDataSample.to_dict()``), which have ``pred_sem_seg``."""
        for sample in data_samples:
            if 'pred_sem_seg' not in sample:
                raise DataError(f'SemSegMetric needs pred_sem_seg; the sample has {sorted(sample)}.')
            predicted = to_numpy(sample['pred_sem_seg']['sem_seg']).squeeze()
            if self.output_dir is not None:
                self._write(sample, predicted)
            self.results.append(None if self.format_only else self._counts(sample, predicted))

    def _counts(self, sample: dict, predicted: np.ndarray) -> PixelCounts:
        annotated, ignore_index = self._truth(sample)
        try:
            return count_pixels(predicted, annotated, len(self._classes), ignore_index)
        except ValueError as error:
            raise DataError(
                f'SemSegMetric, image {sample.get("img_path") or sample.get("img_id")}: {error}.'
            ) from error

    def _truth(self, sample: dict) -> tuple[np.ndarray, int]:
        """Annotated class of each pixel (h, w), and the number of pixels without one."""
        if 'gt_sem_seg' in sample:
            truth = sample['gt_sem_seg']
            return to_numpy(truth['sem_seg']).squeeze(), truth.get('ignore_index', _IGNORED)
        path = sample.get('seg_map_path')
        if not path:
            raise ConfigError(
                'SemSegMetric finds no truth: load it in the test pipeline by LoadAnnotations(with_seg=True), or list '
                f"'seg_map_path' in PackDetInputs(meta_keys=...). The sample has {sorted(sample)}."
            )
        label_map = (self.dataset_meta or {}).get('label_map')
        largest = 255 if label_map is None else LARGEST_VALUE
        values = read_label_map(path, backend_args=self.backend_args, largest=largest)
        return labels_of_values(values, label_map, bool(sample.get('reduce_zero_label')), _IGNORED), _IGNORED

    @property
    def _classes(self) -> Sequence[str]:
        """Classes of things, then of stuff: what label maps are numbered by."""
        meta = self.dataset_meta or {}
        if 'classes' not in meta:
            raise ConfigError("SemSegMetric needs dataset_meta['classes']: the evaluator takes it from the dataset.")
        stuff = [name for name in meta.get('stuff_classes', ()) if name not in meta['classes']]
        return [*meta['classes'], *stuff]

    def compute_metrics(self, results: list[PixelCounts | None]) -> dict[str, float]:
        """Scores over all that ``process`` counted."""
        if self.format_only:
            return {}
        counts = sum(results, PixelCounts.zeros(len(self._classes)))
        each = class_scores(counts, self.beta)
        means = {name: key for metric in self.iou_metrics for name, key in _MEANS[metric].items()}
        total = max(counts.annotated.sum(), 1)
        values = {name: _mean(each[key]) for name, key in means.items()}
        values['fwIoU'] = 100 * float(np.nansum(each['IoU'] * counts.annotated) / total)
        values['pACC'] = 100 * float(counts.right.sum() / total)
        keys = list(dict.fromkeys(means.values()))
        rows = [[name, *(_mean(each[key][[i]]) for key in keys)] for i, name in enumerate(self._classes)]
        log_table('classes of pixels, %', ['class', *keys], rows)
        log_table('all classes, %', ['metric', 'value'], list(values.items()))
        return values

    def _write(self, sample: dict, predicted: np.ndarray) -> None:
        name = osp.splitext(osp.basename(str(sample.get('img_path') or sample['img_id'])))[0]
        png = cv2.imencode('.png', predicted.astype(np.uint8 if predicted.max() <= _IGNORED else np.uint16))[1]
        put(png.tobytes(), osp.join(self.output_dir, f'{name}.png'))


def _mean(values: np.ndarray) -> float:
    """The mean in percent of what is known; -1 if nothing is."""
    known = values[~np.isnan(values)]
    return 100 * float(known.mean()) if known.size else -1.0
