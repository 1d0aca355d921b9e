"""PASCAL VOC's average precision as a metric."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from ...errors import ConfigError
from ...registry import METRICS
from ...structures.bbox import geometry
from ..functional.mean_ap import eval_map
from ..functional.recall import eval_recalls
from .arguments import check_counts, check_thresholds
from .convert import annotated_boxes, boxes_of, prediction_of
from .threshold_scores import threshold_names, threshold_scores


@METRICS.register_module()
class VOCMetric(BaseMetric):
    """Mean average precision of boxes at fixed overlaps (The PASCAL Visual Object Classes Challenge).

    Gives ``pascal_voc/AP50`` for each threshold and ``pascal_voc/mAP``, the mean over the thresholds. The ground truth
    is what the samples carry as ``instances`` (list it in ``PackDetInputs(meta_keys=...)``), else the objects that
    their pipeline has loaded, by ``LoadAnnotations`` after ``Resize``; difficult objects (``ignore_flag``) are neither
    right nor wrong to find.

    Args:
        iou_thrs: Overlap, or several, from which on a box counts as found.
        scale_ranges: Score also by object size: pairs of the square roots of areas, in pixels.
        metric: 'mAP' or 'recall'.
        proposal_nums: Numbers of boxes in an image that metric 'recall' considers.
        eval_mode: 'area' (exact area under the curve) or '11points' (VOC 2007).
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'pascal_voc' if None.
    """

    default_prefix = 'pascal_voc'
    box_dim = geometry.HORIZONTAL

    def __init__(
        self,
        iou_thrs: float | Sequence[float] = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
        metric: str = 'mAP',
        proposal_nums: Sequence[int] = (100, 300, 1000),
        eval_mode: str = '11points',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if metric not in ('mAP', 'recall'):
            raise ConfigError(f"metric should be 'mAP' or 'recall', got {metric!r}.")
        if eval_mode not in ('area', '11points'):
            raise ConfigError(f"eval_mode should be 'area' or '11points', got {eval_mode!r}.")
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, (int, float)) else iou_thrs
        check_thresholds('iou_thrs', [] if iou_thrs is None else self.iou_thrs)
        self.scale_ranges = scale_ranges
        self.metric = metric
        self.proposal_nums = list(proposal_nums)
        check_counts('proposal_nums', self.proposal_nums)
        self.eval_mode = eval_mode

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix; ``classes`` make no difference."""
        if self.metric == 'recall':
            averages = [f'AR@{number}' for number in self.proposal_nums] if len(self.iou_thrs) > 1 else []
            return averages + [f'recall@{number}@{thr:g}' for number in self.proposal_nums for thr in self.iou_thrs]
        return threshold_names(self.iou_thrs, self.scale_ranges)

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep ``pred_instances`` and what is annotated of ``data_samples`` (``DetDataSample.to_dict()``)."""
        for sample in data_samples:
            truth = self.truth_arrays(annotated_boxes(sample))
            self.results.append((truth, prediction_of(sample, type(self).__name__, self.box_dim)))

    def truth_arrays(self, instances: Sequence[dict]) -> dict[str, np.ndarray]:
        """``bboxes`` (n, ``box_dim``), ``labels`` and ``ignore`` (n,) of annotated instances."""
        return {
            'bboxes': self.truth_boxes([instance['bbox'] for instance in instances]),
            'labels': np.array([instance['bbox_label'] for instance in instances], dtype=np.int64),
            'ignore': np.array([bool(instance.get('ignore_flag', 0)) for instance in instances], dtype=bool),
        }

    def truth_boxes(self, boxes: Sequence[Sequence[float]]) -> np.ndarray:
        """Annotated boxes (n, ``box_dim``) as they are compared with predicted ones."""
        return boxes_of(np.array(boxes, dtype=np.float64), type(self).__name__, self.box_dim)

    def compute_metrics(self, results: list[tuple[dict, dict]]) -> dict[str, float]:
        """Scores of everything that ``process`` kept."""
        truths, predictions = map(list, zip(*results)) if results else ([], [])
        return self._recalls(truths, predictions) if self.metric == 'recall' else self._maps(truths, predictions)

    def _maps(self, truths: list[dict], predictions: list[dict]) -> dict[str, float]:
        classes = self.dataset_meta['classes']

        def evaluate(thr: float, area_range: tuple[float, float] | None) -> tuple[float, list[dict]]:
            return eval_map(predictions, truths, len(classes), thr, self.eval_mode, area_range)

        return threshold_scores(self.iou_thrs, self.scale_ranges, classes, evaluate)

    def _recalls(self, truths: list[dict], predictions: list[dict]) -> dict[str, float]:
        gts = [truth['bboxes'][~truth['ignore']] for truth in truths]
        found = [p['bboxes'][np.argsort(-p['scores'], kind='stable')] for p in predictions]
        recalls = eval_recalls(gts, found, self.proposal_nums, self.iou_thrs)
        scores = {
            f'recall@{n}@{thr:g}': float(recalls[i, j])
            for i, n in enumerate(self.proposal_nums)
            for j, thr in enumerate(self.iou_thrs)
        }
        if len(self.iou_thrs) > 1:
            scores |= {f'AR@{n}': float(value) for n, value in zip(self.proposal_nums, recalls.mean(1))}
        return scores
