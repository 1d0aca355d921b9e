"""Assign by how well class and box of a prediction agree: TOOD, arXiv 2108.07755."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

from .base_assigner import AssignResult, BaseAssigner, best_object, points_inside


@TASK_UTILS.register_module()
class TaskAlignedAssigner(BaseAssigner):
    """Assign an object to the priors inside it whose predictions are best aligned: high in both score and overlap.

    Args:
        topk: Candidates of each object; a ``ValueError`` if less than 1.
        alpha: Exponent of the score in the alignment.
        beta: Exponent of the overlap in the alignment.
        iou_calculator: As of ``BaseAssigner``.
    """

    needs_predictions = True

    def __init__(self, topk: int, alpha: float = 1, beta: float = 6, iou_calculator: dict | None = None) -> None:
        if topk < 1:
            raise ValueError(f'topk must be at least 1, got {topk}')
        super().__init__(iou_calculator)
        self.topk, self.alpha, self.beta = topk, alpha, beta

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        """Assign by predicted ``scores`` in [0, 1]; a prior wanted by several objects goes to the one it overlaps most.

        ``assign_metrics`` holds the alignment of each positive with its object.
        """
        points = pred_instances.points
        boxes = get_box_tensor(gt_instances.bboxes)
        overlaps = self.iou_calculator(get_box_tensor(pred_instances.bboxes), boxes)
        alignment = pred_instances.scores[:, gt_instances.labels] ** self.alpha * overlaps**self.beta
        # the margin of ATSS: on a side, a distance to regress would be 0
        inside = points_inside(points, boxes, margin=0.01)
        gt_inds, best = best_object(overlaps, self._candidates(alignment) & inside)
        rows = gt_inds.nonzero().squeeze(1)
        metrics = points.new_zeros(len(points))
        metrics[rows] = alignment[rows, gt_inds[rows] - 1].to(metrics.dtype)
        return AssignResult.from_gt_inds(gt_inds, best, gt_instances.labels, metrics)

    def _candidates(self, alignment: Tensor) -> Tensor:
        """(n, m) whether a prior is among the best of an object and aligned with it at all."""
        # an alignment of 0 is none, also where an object has no better candidates
        values, inds = alignment.topk(min(self.topk, len(alignment)), dim=0)
        return torch.zeros_like(alignment, dtype=torch.bool).scatter_(0, inds, values > 0)
