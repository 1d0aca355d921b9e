"""Assignment to the anchors of the cell in which an object's centre lies: YOLOv3, arXiv 1804.02767."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

from .assign_result import AssignResult
from .max_iou_assigner import give_best_priors


@TASK_UTILS.register_module()
class GridAssigner:
    """Give an object priors of its own cell only, by overlap.

    A prior is background where its largest overlap is at most ``neg_iou_thr``. A prior in the cell of an object's
    centre is positive where it overlaps an object by more than ``pos_iou_thr``; and the one that overlaps an object
    most takes it in any case, if by more than ``min_pos_iou``, later objects before earlier ones. The other priors
    are ignored.

    Args:
        pos_iou_thr: Overlap above which a prior is positive.
        neg_iou_thr: Overlap up to which it is background, or the range (low, high] in which it is.
        min_pos_iou: Overlap which an object's best prior must exceed.
        gt_max_assign_all: All priors tied for an object's largest overlap take it, not just the first.
        iou_calculator: How overlap is measured.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: dict | None = None,
    ) -> None:
        self.pos_iou_thr, self.neg_iou_thr, self.min_pos_iou = pos_iou_thr, neg_iou_thr, min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign objects to priors.

        Args:
            pred_instances: ``priors`` (n, 4) xyxy in pixels and ``responsible_flags`` (n,), which mark the priors in
                a cell with the centre of an object.
            gt_instances: ``bboxes`` (m, 4) and ``labels`` (m,).
            gt_instances_ignore: Not used.
        """
        responsible = pred_instances.responsible_flags.bool()
        overlaps = self.iou_calculator(get_box_tensor(gt_instances.bboxes), get_box_tensor(pred_instances.priors))
        num_gts, num_priors = overlaps.shape
        gt_inds = overlaps.new_full((num_priors,), -1, dtype=torch.long)
        labels = torch.full_like(gt_inds, -1)
        if num_gts == 0 or num_priors == 0:
            gt_inds.zero_()
            return AssignResult(num_gts, gt_inds, overlaps.new_zeros(num_priors), labels)
        gt_inds[self._is_background(overlaps.amax(dim=0))] = 0
        overlaps[:, ~responsible] = -1
        max_overlaps, best_gt = overlaps.max(dim=0)
        positive = (max_overlaps > self.pos_iou_thr) & responsible
        gt_inds[positive] = best_gt[positive] + 1
        # the priors of other cells have a negative overlap by now, so that none of them is taken
        wanted = overlaps.amax(dim=1) > max(self.min_pos_iou, 0)
        give_best_priors(overlaps, wanted, self.gt_max_assign_all, gt_inds)
        positive = gt_inds > 0
        labels[positive] = gt_instances.labels[gt_inds[positive] - 1]
        return AssignResult(num_gts, gt_inds, max_overlaps, labels)

    def _is_background(self, max_overlaps: Tensor) -> Tensor:
        if isinstance(self.neg_iou_thr, (int, float)):
            return max_overlaps <= self.neg_iou_thr
        low, high = self.neg_iou_thr
        return (max_overlaps > low) & (max_overlaps <= high)
