"""The scores of CrowdHuman as a metric."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import dump

from ...datasets.errors import DataError, warn
from ...datasets.records import same_id
from ...errors import ConfigError
from ...registry import METRICS
from ..functional.crowd import (
    MISS_RATE_POINTS,
    CrowdImage,
    average_precision,
    jaccard_index,
    log_average_miss_rate,
    ranked_hits,
)
from .arguments import check_thresholds
from .convert import boxes_of, prediction_of, truth_of, xyxy_to_xywh
from .crowdhuman_truth import PARTS, read_truth
from .tables import log_table

_SCORES = {'AP': 'mAP', 'MR': 'mMR', 'JI': 'JI'}
_MODES = dict(enumerate(PARTS))
_MATCHINGS = (None, 'CALTECH', 'VOC')


@METRICS.register_module()
class CrowdHumanMetric(BaseMetric):
    """Average precision, miss rate and Jaccard index of persons in crowds (arXiv:1805.00123, arXiv:2003.09163).

    Gives ``crowd_human/mAP``, ``crowd_human/mMR``, the log-average miss rate (lower is better), and ``crowd_human/JI``,
    the best Jaccard index over the score thresholds 0, 0.1, ..., 0.9. All are fractions.

    Args:
        ann_file: CrowdHuman's ``annotation_val.odgt``. If None, the ground truth is what the samples carry as
            ``instances`` (list it in ``PackDetInputs(meta_keys=...)``).
        metric: One or several of 'AP', 'MR' and 'JI'.
        format_only: Only write the predictions to ``outfile_prefix``.
        outfile_prefix: Write predictions to ``{outfile_prefix}.json``.
        backend_args: Where ``ann_file`` is read from, as for ``mmengine.fileio.get``.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'crowd_human' if None.
        eval_mode: 0 to score full bodies, 1 heads.
        iou_thres: Overlap above which a box hits a person.
        compare_matching_method: 'CALTECH' or None: a box takes the free person it overlaps most; 'VOC': it is compared
            with the person it overlaps most, free or taken.
        mr_ref: False positives an image that miss rates are taken at: 'CALTECH_-2' (0.01 to 1) or 'CALTECH_-4'.
        num_ji_process: Kept for configs; one process is enough.
    """

    default_prefix = 'crowd_human'

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | Sequence[str] = ('AP', 'MR', 'JI'),
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        eval_mode: int = 0,
        iou_thres: float = 0.5,
        compare_matching_method: str | None = None,
        mr_ref: str = 'CALTECH_-2',
        num_ji_process: int = 10,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.iou_thres = iou_thres
        self.compare_matching_method = compare_matching_method
        self.mr_ref = mr_ref
        self.ann_file = ann_file
        self._check_arguments(eval_mode)
        self._truth = read_truth(ann_file, _MODES[eval_mode], backend_args) if ann_file and not format_only else None

    def _check_arguments(self, eval_mode: int) -> None:
        unknown = [name for name in self.metrics if name not in _SCORES]
        if unknown or not self.metrics:
            raise ConfigError(f'metric should be one of {", ".join(_SCORES)}, got {(unknown or [None])[0]!r}.')
        if self.format_only and self.outfile_prefix is None:
            raise ConfigError('format_only writes predictions to a file: set outfile_prefix.')
        if eval_mode not in _MODES:
            raise ConfigError(f'eval_mode should be 0 (full bodies) or 1 (heads), got {eval_mode!r}.')
        if self.compare_matching_method not in _MATCHINGS:
            raise ConfigError(
                f'compare_matching_method should be one of {_MATCHINGS}, got {self.compare_matching_method!r}.'
            )
        if self.mr_ref not in MISS_RATE_POINTS:
            raise ConfigError(f'mr_ref should be one of {", ".join(MISS_RATE_POINTS)}, got {self.mr_ref!r}.')
        check_thresholds('iou_thres', [self.iou_thres])

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix; ``classes`` make no difference."""
        return [_SCORES[name] for name in self.metrics]

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep what is scored of ``data_samples`` (``DetDataSample.to_dict()``): ``pred_instances`` and ``img_id``."""
        for sample in data_samples:
            prediction = prediction_of(sample, type(self).__name__)
            if self.format_only:
                self.results.append((prediction, None))
                continue
            truth = self._truth_of(sample)
            image = CrowdImage(prediction['bboxes'], prediction['scores'], truth['bboxes'], truth['ignore'])
            self.results.append((prediction, image.clipped(*sample['ori_shape'][:2])))

    @property
    def reads_instances(self) -> bool:
        """Whether the ground truth is the ``instances`` of the samples, not a file."""
        return self._truth is None and not self.format_only

    def _truth_of(self, sample: dict) -> dict[str, np.ndarray]:
        if self._truth is None:
            instances = truth_of(sample)['instances']
            boxes = boxes_of(np.array([row['bbox'] for row in instances], np.float64), type(self).__name__)
            return {'bboxes': boxes, 'ignore': np.array([bool(row.get('ignore_flag')) for row in instances], bool)}
        truth = self._truth.get(same_id(sample['img_id']))
        if truth is None:
            raise DataError(f'{self.ann_file} has no image {sample["img_id"]!r}, which was predicted.')
        return truth

    def compute_metrics(self, results: list[tuple[dict, CrowdImage | None]]) -> dict[str, float]:
        """Scores of everything that ``process`` kept."""
        if self.outfile_prefix is not None:
            dump([_written(prediction) for prediction, _ in results], f'{self.outfile_prefix}.json')
        if self.format_only:
            return {}
        images = [image for _, image in results]
        if self._truth is not None and len(images) < len(self._truth):
            warn(f'{self.ann_file}: scoring the {len(images)} predicted of {len(self._truth)} images.')
        values = self._scores(images)
        log_table('CrowdHuman', ['metric', 'value'], list(values.items()))
        return values

    def _scores(self, images: list[CrowdImage]) -> dict[str, float]:
        total = int(sum((~image.ignore).sum() for image in images))
        hits = ranked_hits(images, self.iou_thres, takes_best_only=self.compare_matching_method == 'VOC')
        values = {}
        for name in self.metrics:
            if name == 'AP':
                value = average_precision(hits, total)
            elif name == 'MR':
                value = log_average_miss_rate(hits, total, len(images), MISS_RATE_POINTS[self.mr_ref])
            else:
                value = max(jaccard_index(images, self.iou_thres, tenths / 10) for tenths in range(10))
            values[_SCORES[name]] = value
        return values


def _written(prediction: dict) -> dict:
    """A prediction in the format of CrowdHuman's result files."""
    pairs = zip(prediction['bboxes'].tolist(), prediction['scores'].tolist())
    boxes = [{'box': xyxy_to_xywh(box), 'score': score, 'tag': 1} for box, score in pairs]
    return {'ID': prediction['img_id'], 'dtboxes': boxes}
