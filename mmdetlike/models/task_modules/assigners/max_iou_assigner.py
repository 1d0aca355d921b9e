"""Assignment by overlap: Faster R-CNN, arXiv 1506.01497."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

from .assign_result import AssignResult


@TASK_UTILS.register_module()
class MaxIoUAssigner:
    """Give each prior the object it overlaps most, if enough.

    A prior is background where its largest overlap is below ``neg_iou_thr``, positive where it is at least
    ``pos_iou_thr``, ignored in between. With ``match_low_quality`` the priors that overlap an object most take it
    even below ``pos_iou_thr``, later objects before earlier ones.

    Args:
        pos_iou_thr: Overlap from which a prior is positive.
        neg_iou_thr: Overlap below which it is background, or the range (low, high) in which it is.
        min_pos_iou: Overlap a low-quality match needs.
        gt_max_assign_all: All priors tied for an object's largest overlap take it, not just the first.
        ignore_iof_thr: Priors that lie in an ignored box by more than this share are ignored; negative switches off.
        ignore_wrt_candidates: Measure that share by the prior's area; by the ignored box's where False.
        match_low_quality: See above.
        gpu_assign_thr: With more objects than this, assign on the CPU to save device memory; negative for never.
        iou_calculator: How overlap is measured.
        perm_repeat_gt_cfg: Kept for configs; must be None.

    Raises:
        ValueError: ``perm_repeat_gt_cfg`` is set.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: float = -1,
        iou_calculator: dict | None = None,
        perm_repeat_gt_cfg: dict | None = None,
    ) -> None:
        if perm_repeat_gt_cfg is not None:
            raise ValueError(f'perm_repeat_gt_cfg is not supported, got {perm_repeat_gt_cfg}')
        self.pos_iou_thr, self.min_pos_iou = pos_iou_thr, min_pos_iou
        self.neg_range = (0.0, neg_iou_thr) if isinstance(neg_iou_thr, (int, float)) else tuple(neg_iou_thr)
        self.gt_max_assign_all, self.match_low_quality = gt_max_assign_all, match_low_quality
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates
        self.gpu_assign_thr = gpu_assign_thr
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign objects to priors.

        Args:
            pred_instances: ``priors`` (n, 4) xyxy in pixels.
            gt_instances: ``bboxes`` (m, 4) and ``labels`` (m,).
            gt_instances_ignore: ``bboxes`` (k, 4) of regions that are neither objects nor background.
        """
        priors, labels = get_box_tensor(pred_instances.priors), gt_instances.labels
        gt_bboxes = get_box_tensor(gt_instances.bboxes)
        device = priors.device
        if 0 <= self.gpu_assign_thr < len(gt_bboxes):
            priors, gt_bboxes, labels = priors.cpu(), gt_bboxes.cpu(), labels.cpu()
        overlaps = self.iou_calculator(gt_bboxes, priors)
        ignored = self._ignored(priors, gt_instances_ignore)
        if ignored is not None:
            overlaps[:, ignored] = -1
        result = self.assign_wrt_overlaps(overlaps, labels)
        if ignored is not None:
            result.gt_inds[ignored] = -1  # without objects there are no overlaps to say so
        return AssignResult(
            result.num_gts, result.gt_inds.to(device), result.max_overlaps.to(device), result.labels.to(device)
        )

    def _ignored(self, priors: Tensor, ignore: InstanceData | None) -> Tensor | None:
        """Mask (n,) of the priors that lie in an ignored box."""
        if self.ignore_iof_thr <= 0 or ignore is None or not len(ignore) or not len(priors):
            return None
        boxes = get_box_tensor(ignore.bboxes).to(priors.device)
        if self.ignore_wrt_candidates:
            share = self.iou_calculator(priors, boxes, mode='iof').amax(1)
        else:
            share = self.iou_calculator(boxes, priors, mode='iof').amax(0)
        return share > self.ignore_iof_thr

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign by the overlaps (m, n) of m objects with n priors; -1 marks priors to be ignored."""
        num_gts, num_priors = overlaps.shape
        gt_inds = overlaps.new_full((num_priors,), -1, dtype=torch.long)
        labels = torch.full_like(gt_inds, -1)
        if num_gts == 0 or num_priors == 0:
            gt_inds.zero_()
            return AssignResult(num_gts, gt_inds, overlaps.new_zeros(num_priors), labels)
        max_overlaps, best_gt = overlaps.max(dim=0)
        low, high = self.neg_range
        gt_inds[(max_overlaps >= low) & (max_overlaps < high)] = 0
        positive = max_overlaps >= self.pos_iou_thr
        gt_inds[positive] = best_gt[positive] + 1
        if self.match_low_quality:
            self._match_low_quality(overlaps, gt_inds)
        positive = gt_inds > 0
        labels[positive] = gt_labels[gt_inds[positive] - 1]
        return AssignResult(num_gts, gt_inds, max_overlaps, labels)

    def _match_low_quality(self, overlaps: Tensor, gt_inds: Tensor) -> None:
        gt_max = overlaps.max(dim=1).values
        # an object that overlaps no prior at all must not take every prior that ties at zero
        wanted = (gt_max >= self.min_pos_iou) & (gt_max > 0)
        give_best_priors(overlaps, wanted, self.gt_max_assign_all, gt_inds)


def give_best_priors(overlaps: Tensor, wanted: Tensor, assign_all: bool, gt_inds: Tensor) -> None:
    """Give objects the priors that they overlap most, later objects before earlier ones.

    Args:
        overlaps: (m, n) of m objects with n priors.
        wanted: (m,) bool, the objects that take priors.
        assign_all: Whether an object takes all priors tied for its largest overlap or the first of them.
        gt_inds: (n,) the objects of the priors, counted from 1; written to.
    """
    gt_max, gt_argmax = overlaps.max(dim=1)
    gt = wanted.nonzero().squeeze(1)
    if assign_all:
        rows, priors = (overlaps[gt] == gt_max[gt, None]).nonzero(as_tuple=True)
        gt = gt[rows]
    else:
        priors = gt_argmax[gt]
    # a later object takes a contested prior: the larger index wins
    contested = torch.zeros_like(gt_inds).scatter_reduce_(0, priors, gt + 1, 'amax')
    gt_inds[contested > 0] = contested[contested > 0]
