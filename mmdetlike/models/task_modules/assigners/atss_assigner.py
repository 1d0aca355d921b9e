"""Adaptive Training Sample Selection: Bridging the Gap Between Anchor-based and Anchor-free, arXiv 1912.02424."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners.assign_result import AssignResult
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor


@TASK_UTILS.register_module()
class ATSSAssigner:
    """Take, of the anchors nearest to an object's centre, those that overlap it more than most of them do.

    Args:
        topk: Candidates of each object in each level.
        alpha: Mix overlaps with predicted scores: score^(1 - alpha) * IoU^alpha of predictions (DDOD, arXiv
            2107.02963); None for the overlap of anchors alone.
        iou_calculator: How overlap is measured.
        ignore_iof_thr: Anchors that lie in an ignored box by more than this share are ignored; negative switches off.
    """

    needs_levels = True

    def __init__(
        self,
        topk: int,
        alpha: float | None = None,
        iou_calculator: dict | None = None,
        ignore_iof_thr: float = -1,
    ) -> None:
        self.topk, self.alpha, self.ignore_iof_thr = topk, alpha, ignore_iof_thr
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    @property
    def needs_predictions(self) -> bool:
        """Whether predictions take part."""
        return self.alpha is not None

    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: Sequence[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign objects to anchors.

        Args:
            pred_instances: ``priors`` (n, 4) xyxy in pixels; with ``alpha`` also ``bboxes`` (n, 4) and ``scores``
                (n, classes) in [0, 1].
            num_level_priors: Anchors in each level.
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,).
            gt_instances_ignore: ``bboxes`` (k, 4) of regions that are neither objects nor background.
        """
        priors, boxes = get_box_tensor(pred_instances.priors)[:, :4], get_box_tensor(gt_instances.bboxes)
        gt_inds = torch.zeros(len(priors), dtype=torch.long, device=priors.device)
        labels = torch.full_like(gt_inds, -1)
        if not len(boxes) or not len(priors):
            return AssignResult(len(boxes), gt_inds, priors.new_zeros(len(priors)), labels)
        overlaps = self._overlaps(pred_instances, priors, boxes, gt_instances.labels)
        centres = (priors[:, :2] + priors[:, 2:]) / 2
        distances = torch.cdist(centres, (boxes[:, :2] + boxes[:, 2:]) / 2)
        ignored = self._ignored(priors, gt_instances_ignore)
        if ignored is not None:
            overlaps[ignored], distances[ignored] = -1, torch.inf
            gt_inds[ignored] = -1
        suits = self._candidates(distances, overlaps, num_level_priors) & points_inside(centres, boxes)
        if ignored is not None:
            suits &= ~ignored[:, None]  # where all of an object's candidates are ignored, these pass its threshold
        overlaps_of_suiting = torch.where(suits, overlaps, -torch.inf)
        best, best_gt = overlaps_of_suiting.max(1)
        positive = best > -torch.inf
        gt_inds[positive] = best_gt[positive] + 1
        labels[positive] = gt_instances.labels[best_gt[positive]]
        return AssignResult(len(boxes), gt_inds, best, labels)

    def _overlaps(self, instances: InstanceData, priors: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        if self.alpha is None:
            return self.iou_calculator(priors, boxes)
        overlaps = self.iou_calculator(get_box_tensor(instances.bboxes), boxes)
        return instances.scores[:, labels] ** (1 - self.alpha) * overlaps**self.alpha

    def _ignored(self, priors: Tensor, ignore: InstanceData | None) -> Tensor | None:
        if self.ignore_iof_thr <= 0 or ignore is None or not len(ignore):
            return None
        share = self.iou_calculator(priors, get_box_tensor(ignore.bboxes), mode='iof')
        return share.amax(1) > self.ignore_iof_thr

    def _candidates(self, distances: Tensor, overlaps: Tensor, num_level_priors: Sequence[int]) -> Tensor:
        """(n, m) whether an anchor is a near one of an object and overlaps it more than mean and deviation of those."""
        near, start = [], 0
        for level in distances.split(list(num_level_priors)):
            near.append(level.topk(min(self.topk, len(level)), dim=0, largest=False).indices + start)
            start += len(level)
        near = torch.cat(near)
        of_near = overlaps.gather(0, near)
        deviation = of_near.std(0) if len(of_near) > 1 else 0.0
        passes = of_near >= of_near.mean(0) + deviation
        return torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, near, passes)


def points_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(n, m) whether points (n, 2) lie in boxes (m, 4) by more than a hundredth of a pixel."""
    return torch.cat([points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]], -1).amin(-1) > 0.01
