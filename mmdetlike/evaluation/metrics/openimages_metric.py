"""The average precision of the Open Images challenge as a metric."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from ...errors import ConfigError
from ...registry import METRICS
from ..functional.openimages import eval_openimages, with_ancestors
from .arguments import check_thresholds
from .convert import boxes_of, prediction_of, truth_of
from .threshold_scores import threshold_names, threshold_scores


@METRICS.register_module()
class OpenImagesMetric(BaseMetric):
    """Mean average precision of boxes in the class hierarchy of Open Images (arXiv:1811.00982).

    Gives ``openimages/AP50`` for each threshold and ``openimages/mAP``, the mean over the thresholds. The ground truth
    is what the samples carry as ``instances``, whose ``is_group_of`` marks boxes around groups; list it, and
    ``image_level_labels`` where the dataset has them, in ``PackDetInputs(meta_keys=...)``.

    Args:
        iou_thrs: Overlap, or several, from which on an object counts as found.
        ioa_thrs: For each, share of a detection's area from which on it lies in a box around a group.
        scale_ranges: Score also by object size: pairs of the square roots of areas, in pixels.
        use_group_of: Count the best detection in a box around a group as right, and the others not at all. If not, a
            group is an object like others.
        get_supercategory: An object, annotated or predicted, is also one of every class that includes its own.
        filter_labels: Leave out predictions of classes that the image was not looked through for.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'openimages' if None.
    """

    default_prefix = 'openimages'
    reads_instances = True  # the ground truth is that of the samples

    def __init__(
        self,
        iou_thrs: float | Sequence[float] = 0.5,
        ioa_thrs: float | Sequence[float] | None = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
        use_group_of: bool = True,
        get_supercategory: bool = True,
        filter_labels: bool = True,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, (int, float)) else iou_thrs
        self.ioa_thrs = [ioa_thrs] if isinstance(ioa_thrs, (int, float)) else ioa_thrs
        check_thresholds('iou_thrs', [] if iou_thrs is None else self.iou_thrs)
        check_thresholds('ioa_thrs', self.ioa_thrs)
        if self.ioa_thrs is not None and len(self.ioa_thrs) != len(self.iou_thrs):
            raise ConfigError(f'ioa_thrs={ioa_thrs!r} should be as many as iou_thrs={iou_thrs!r}, one for each.')
        self.scale_ranges = scale_ranges
        self.use_group_of = use_group_of
        self.get_supercategory = get_supercategory
        self.filter_labels = filter_labels

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix; ``classes`` make no difference."""
        return threshold_names(self.iou_thrs, self.scale_ranges)

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep ``pred_instances`` and ``instances`` of ``data_samples`` (``DetDataSample.to_dict()``)."""
        for sample in data_samples:
            truth = self._truth(truth_of(sample)['instances'])
            searched = truth['labels']
            if sample.get('image_level_labels') is not None:
                searched = np.concatenate([searched, np.asarray(sample['image_level_labels'], dtype=np.int64)])
            self.results.append((truth, self._prediction(sample, searched)))

    def _truth(self, instances: Sequence[dict]) -> dict[str, np.ndarray]:
        """``bboxes``, ``labels`` and ``group_of`` of annotated instances, once for each class that includes them."""
        boxes = boxes_of(np.array([row['bbox'] for row in instances], dtype=np.float64), type(self).__name__)
        labels = np.array([row['bbox_label'] for row in instances], dtype=np.int64)
        group_of = np.array([bool(row.get('is_group_of')) for row in instances], dtype=bool)
        indices, labels = self._expanded(labels)
        return {'bboxes': boxes[indices], 'labels': labels, 'group_of': group_of[indices]}

    def _prediction(self, sample: dict, searched: np.ndarray) -> dict[str, np.ndarray]:
        """``bboxes``, ``scores`` and ``labels`` of classes ``searched`` for, once for each class that includes them."""
        prediction = prediction_of(sample, type(self).__name__)
        own = prediction['labels']
        indices, labels = self._expanded(own)
        is_searched = np.isin(labels, searched)
        keep = is_searched if self.filter_labels else is_searched | (labels == own[indices])
        indices = indices[keep]
        boxes = prediction['bboxes'].astype(np.float64)
        return {'bboxes': boxes[indices], 'scores': prediction['scores'][indices], 'labels': labels[keep]}

    def _expanded(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.get_supercategory:
            return np.arange(len(labels)), labels
        if 'RELATION_MATRIX' not in (self.dataset_meta or {}):
            raise ConfigError(
                "OpenImagesMetric needs dataset_meta['RELATION_MATRIX'], which a dataset with hierarchy_file has; "
                'without a hierarchy set get_supercategory=False.'
            )
        return with_ancestors(labels, self.dataset_meta['RELATION_MATRIX'])

    def compute_metrics(self, results: list[tuple[dict, dict]]) -> dict[str, float]:
        """Scores of everything that ``process`` kept."""
        truths, predictions = map(list, zip(*results)) if results else ([], [])
        classes = self.dataset_meta['classes']
        ioa_thrs = self.ioa_thrs if self.use_group_of and self.ioa_thrs is not None else [None] * len(self.iou_thrs)
        ioa_of = dict(zip(self.iou_thrs, ioa_thrs))

        def evaluate(thr: float, area_range: tuple[float, float] | None) -> tuple[float, list[dict]]:
            return eval_openimages(predictions, truths, len(classes), thr, ioa_of[thr], area_range)

        return threshold_scores(self.iou_thrs, self.scale_ranges, classes, evaluate)
