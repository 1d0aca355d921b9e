"""Assign by how well class and box of a prediction agree: TOOD, arXiv 2108.07755."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners.assign_result import AssignResult
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

from .atss_assigner import points_inside


@TASK_UTILS.register_module()
class TaskAlignedAssigner:
    """Take, of the priors in an object, those whose predictions score and overlap it best.

    Args:
        topk: Candidates of each object.
        iou_calculator: How overlap is measured.

    Raises:
        ValueError: ``topk`` is less than 1.
    """

    needs_predictions = True

    def __init__(self, topk: int, iou_calculator: dict | None = None) -> None:
        if topk < 1:
            raise ValueError(f'topk must be at least 1, got {topk}')
        self.topk = topk
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        alpha: float = 1,
        beta: float = 6,
    ) -> AssignResult:
        """Assign objects to priors.

        Args:
            pred_instances: ``priors`` (n, 4) xyxy and ``bboxes`` (n, 4) xyxy in pixels, ``scores`` (n, classes) in
                [0, 1].
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,).
            gt_instances_ignore: Not used.
            alpha: Exponent of the score in the alignment.
            beta: Exponent of the overlap in the alignment.

        Returns:
            The objects of the priors; a prior wanted by several goes to the one it overlaps most. ``assign_metrics``
            holds the alignment of each positive with its object.
        """
        priors, boxes = get_box_tensor(pred_instances.priors), get_box_tensor(gt_instances.bboxes)
        gt_inds = torch.zeros(len(priors), dtype=torch.long, device=priors.device)
        labels, metrics = torch.full_like(gt_inds, -1), priors.new_zeros(len(priors))
        if not len(boxes) or not len(priors):
            return AssignResult(len(boxes), gt_inds, torch.zeros_like(metrics), labels, metrics)
        overlaps = self.iou_calculator(get_box_tensor(pred_instances.bboxes), boxes)
        alignment = pred_instances.scores[:, gt_instances.labels] ** alpha * overlaps**beta
        suits = self._candidates(alignment) & points_inside((priors[:, :2] + priors[:, 2:4]) / 2, boxes)
        best, best_gt = torch.where(suits, overlaps, -torch.inf).max(1)
        positive = best > -torch.inf
        gt_inds[positive] = best_gt[positive] + 1
        labels[positive] = gt_instances.labels[best_gt[positive]]
        metrics[positive] = alignment[positive, best_gt[positive]].to(metrics.dtype)
        return AssignResult(len(boxes), gt_inds, best, labels, metrics)

    def _candidates(self, alignment: Tensor) -> Tensor:
        """(n, m) whether a prior is among the best of an object and aligned with it at all."""
        values, inds = alignment.topk(min(self.topk, len(alignment)), dim=0)
        return torch.zeros_like(alignment, dtype=torch.bool).scatter_(0, inds, values > 0)
