"""Adaptive Training Sample Selection: Bridging the Gap Between Anchor-based and Anchor-free, arXiv 1912.02424."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .base_assigner import AssignResult, BaseAssigner, best_object, points_inside


@TASK_UTILS.register_module()
class ATSSAssigner(BaseAssigner):
    """Assign an object to those of its nearest anchors that overlap it by more than mean and deviation of them.

    Args:
        topk: Candidates of each object in each level.
        alpha: Mix overlaps with predicted scores: score^(1 - alpha) * IoU^alpha of predictions (DDOD, arXiv
            2107.02963); None for the overlap of anchors alone.
        iou_calculator, ignore_iof_thr: See ``BaseAssigner``.
    """

    def __init__(
        self,
        topk: int,
        alpha: float | None = None,
        iou_calculator: dict | None = None,
        ignore_iof_thr: float = -1,
    ) -> None:
        super().__init__(iou_calculator, ignore_iof_thr)
        self.topk, self.alpha = topk, alpha

    @property
    def needs_predictions(self) -> bool:
        return self.alpha is not None

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """See ``BaseAssigner``; with ``alpha``, predicted ``scores`` are in [0, 1]."""
        priors = get_box_tensor(pred_instances.priors)
        boxes = get_box_tensor(gt_instances.bboxes)
        if not len(boxes) or not len(priors):
            return AssignResult.all_background(priors, gt_instances.labels)
        overlaps = self._overlaps(pred_instances, priors, boxes, gt_instances.labels)
        centers = geometry.centers(priors)
        distances = torch.cdist(centers, geometry.centers(boxes))
        ignored = self.ignored(priors, gt_instances_ignore)
        if ignored is not None:
            # ignored anchors are no candidates: their overlaps would move the threshold of the others
            overlaps[ignored] = -1
            distances[ignored] = torch.inf
        suits = self._candidates(distances, overlaps, pred_instances.level_ids)
        # the margin is that of the authors: on a side, a distance to regress would be 0
        suits &= points_inside(centers, boxes, margin=0.01)
        gt_inds, best = best_object(overlaps, suits)
        if ignored is not None:
            gt_inds[ignored] = -1  # where all of an object's candidates are ignored, these pass its threshold
        return AssignResult.from_gt_inds(gt_inds, best, gt_instances.labels)

    def _overlaps(self, instances: InstanceData, priors: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        if self.alpha is None:
            return self.iou_calculator(priors, boxes)
        overlaps = self.iou_calculator(get_box_tensor(instances.bboxes), boxes)
        return instances.scores[:, labels] ** (1 - self.alpha) * overlaps**self.alpha

    def _candidates(self, distances: Tensor, overlaps: Tensor, level_ids: Tensor) -> Tensor:
        """(n, m) whether an anchor is a near one of an object and overlaps it more than mean and deviation of those."""
        near = []
        start = 0
        for level in distances.split(level_ids.bincount().tolist()):
            near.append(level.topk(min(self.topk, len(level)), dim=0, largest=False).indices + start)
            start += len(level)
        near = torch.cat(near)
        of_near = overlaps.gather(0, near)
        # a single candidate has no deviation
        deviation = of_near.std(0) if len(of_near) > 1 else 0.0
        passes = of_near >= of_near.mean(0) + deviation
        return torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, near, passes)
