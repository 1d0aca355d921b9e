"""Assignment by overlap: Faster R-CNN, arXiv 1506.01497, and what others made of it."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

from .base_assigner import AssignResult, BaseAssigner, labels_of
from .iou_calculator import BboxOverlaps2D


@TASK_UTILS.register_module()
class MaxIoUAssigner(BaseAssigner):
    """Assign each prior to the object that it overlaps most, if it does by enough.

    A prior is background where its largest overlap is below ``neg_iou_thr``, positive where it is at least
    ``pos_iou_thr``, ignored in between. With ``match_low_quality`` the priors that overlap an object most take it
    even below ``pos_iou_thr``, later objects before earlier ones.

    Args:
        pos_iou_thr: Overlap from which a prior is positive.
        neg_iou_thr: Overlap below which it is background, or the range (low, high) in which it is.
        min_pos_iou: Overlap a low-quality match needs.
        gt_max_assign_all: All priors tied for an object's largest overlap take it, not just the first.
        ignore_iof_thr, ignore_wrt_candidates, iou_calculator: See ``BaseAssigner``.
        match_low_quality: Whether the priors that overlap an object most take it even below ``pos_iou_thr``.
        gpu_assign_thr: With more objects than this, assign on the CPU to save device memory; negative for never.
        perm_repeat_gt_cfg: ``iou_thr`` and ``perm_range`` of ``move_repeated``, which moves objects with the box of
            another one a little, so that each has priors of its own; None leaves them.
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
        super().__init__(iou_calculator, ignore_iof_thr, ignore_wrt_candidates)
        self.pos_iou_thr, self.min_pos_iou = pos_iou_thr, min_pos_iou
        is_range = not isinstance(neg_iou_thr, (int, float))
        self.neg_range = tuple(neg_iou_thr) if is_range else (-math.inf, neg_iou_thr)
        self.gt_max_assign_all, self.match_low_quality = gt_max_assign_all, match_low_quality
        self.gpu_assign_thr = gpu_assign_thr
        self.perm_repeat_gt_cfg = perm_repeat_gt_cfg

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        priors = get_box_tensor(pred_instances.priors)
        labels = gt_instances.labels
        gt_bboxes = get_box_tensor(gt_instances.bboxes)
        if self.perm_repeat_gt_cfg is not None:
            gt_bboxes = move_repeated(gt_bboxes, **self.perm_repeat_gt_cfg)
        device = priors.device
        if 0 <= self.gpu_assign_thr < len(gt_bboxes):
            priors = priors.cpu()
            gt_bboxes = gt_bboxes.cpu()
            labels = labels.cpu()
        overlaps = self.overlaps(pred_instances, gt_bboxes)
        ignored = self.ignored(priors, gt_instances_ignore)
        if ignored is not None:
            overlaps[:, ignored] = -1
        result = self.assign_wrt_overlaps(overlaps, labels, self.candidates(pred_instances))
        if ignored is not None:
            result.gt_inds[ignored] = -1  # without objects there are no overlaps to say so
        return result.to(device)

    def candidates(self, pred_instances: InstanceData) -> Tensor | None:
        """Mask (n,) of the priors that may be positive; None for all."""
        return None

    def overlaps(self, pred_instances: InstanceData, gt_bboxes: Tensor) -> Tensor:
        """(m, n) the overlaps of objects (m, 4) with the priors, on the objects' device."""
        return self.iou_calculator(gt_bboxes, get_box_tensor(pred_instances.priors).to(gt_bboxes.device))

    def assign_wrt_overlaps(
        self, overlaps: Tensor, gt_labels: Tensor, candidates: Tensor | None = None
    ) -> AssignResult:
        """Assign by the overlaps (m, n) of m objects with n priors, -1 for ignored ones, to the ``candidates`` (n,)."""
        num_gts, num_priors = overlaps.shape
        if num_gts == 0 or num_priors == 0:
            return AssignResult.all_background(overlaps.new_zeros(num_priors, 4), gt_labels)
        gt_inds = overlaps.new_full((num_priors,), -1, dtype=torch.long)
        # before candidates are told apart: whatever lies far from all objects is background
        gt_inds.masked_fill_(self.is_background(overlaps.amax(dim=0)), 0)
        if candidates is not None:
            overlaps[:, ~candidates] = -1
        max_overlaps, best_gt = overlaps.max(dim=0)
        gt_inds = torch.where(self.is_positive(max_overlaps), best_gt + 1, gt_inds)
        if self.match_low_quality:
            give_best_priors(overlaps, self.takes_its_best(overlaps.amax(dim=1)), self.gt_max_assign_all, gt_inds)
        return AssignResult.from_gt_inds(gt_inds, max_overlaps, gt_labels)

    def is_background(self, overlaps: Tensor) -> Tensor:
        """(n,) whether priors with these largest overlaps (n,) are background."""
        low, high = self.neg_range
        return (overlaps >= low) & (overlaps < high)

    def is_positive(self, overlaps: Tensor) -> Tensor:
        """(n,) whether priors with these largest overlaps (n,) are positive."""
        return overlaps >= self.pos_iou_thr

    def takes_its_best(self, overlaps: Tensor) -> Tensor:
        """(m,) whether objects with these largest overlaps (m,) take their best prior in any case."""
        # an object that overlaps no prior at all must not take every prior that ties at zero
        return (overlaps >= self.min_pos_iou) & (overlaps > 0)


@TASK_UTILS.register_module()
class ApproxMaxIoUAssigner(MaxIoUAssigner):
    """A ``MaxIoUAssigner`` by the largest overlap of several anchors at a prior: Guided Anchoring, arXiv 1901.03278.

    These anchors are ``approxs`` (n, k, 4): the shape of a prior is not known before it is predicted.
    """

    def overlaps(self, pred_instances: InstanceData, gt_bboxes: Tensor) -> Tensor:
        approxs = pred_instances.approxs.to(gt_bboxes.device)
        overlaps = self.iou_calculator(gt_bboxes, approxs.flatten(0, 1))
        return overlaps.view(len(gt_bboxes), *approxs.shape[:2]).amax(-1)


@TASK_UTILS.register_module()
class GridAssigner(MaxIoUAssigner):
    """Give an object priors of its own cell only, by overlap: YOLOv3, arXiv 1804.02767.

    A prior is background where its largest overlap is at most ``neg_iou_thr``. A prior in the cell of an object's
    center is positive where it overlaps an object by more than ``pos_iou_thr``; and the one that overlaps an object
    most takes it in any case, if by more than ``min_pos_iou``, later objects before earlier ones. The other priors
    are ignored.

    Args:
        pos_iou_thr: Overlap above which a prior is positive.
        neg_iou_thr: Overlap up to which it is background, or the range (low, high] in which it is.
        min_pos_iou: Overlap which an object's best prior must exceed.
        gt_max_assign_all, iou_calculator: See ``MaxIoUAssigner``.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: dict | None = None,
    ) -> None:
        super().__init__(pos_iou_thr, neg_iou_thr, min_pos_iou, gt_max_assign_all, iou_calculator=iou_calculator)

    def candidates(self, pred_instances: InstanceData) -> Tensor:
        """(n,) the priors in a cell with the center of an object, which ``responsible_flags`` (n,) mark."""
        return pred_instances.responsible_flags.bool()

    def is_background(self, overlaps: Tensor) -> Tensor:
        low, high = self.neg_range
        return (overlaps > low) & (overlaps <= high)

    def is_positive(self, overlaps: Tensor) -> Tensor:
        return overlaps > self.pos_iou_thr

    def takes_its_best(self, overlaps: Tensor) -> Tensor:
        # the priors of other cells have a negative overlap by now, so that none of them is taken
        return overlaps > max(self.min_pos_iou, 0)


@dataclass
class MultiInstanceAssignResult(AssignResult):
    """The objects each prior is responsible for.

    ``gt_inds`` and the other attributes are those of the object that a prior overlaps most.

    Attributes:
        gt_inds_of_instances: (n, k) int64 the k objects of each prior by falling overlap, counted as ``gt_inds``.
        labels_of_instances: (n, k) int64 their classes, -1 where there is none.
    """

    gt_inds_of_instances: Tensor | None = None
    labels_of_instances: Tensor | None = None

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Prepend the objects themselves as priors, each assigned to itself alone."""
        super().add_gt_(gt_labels)
        others = (0, self.gt_inds_of_instances.shape[1] - 1)
        alone = F.pad(self.gt_inds[: len(gt_labels), None], others)
        labels = F.pad(gt_labels[:, None], others, value=-1)
        self.gt_inds_of_instances = torch.cat([alone, self.gt_inds_of_instances])
        self.labels_of_instances = torch.cat([labels, self.labels_of_instances])


@TASK_UTILS.register_module()
class MultiInstanceAssigner(MaxIoUAssigner):
    """Give each prior the ``num_instance`` objects it overlaps most, as many of them as it overlaps enough.

    Detection in Crowded Scenes: One Proposal, Multiple Predictions, arXiv 2003.09163.

    Args:
        num_instance: Objects of one prior; a ``ConfigError`` if below 1.
        match_low_quality: Must be False, else a ``ConfigError``: objects take no priors below ``pos_iou_thr``.
    """

    def __init__(self, num_instance: int = 2, match_low_quality: bool = False, **kwargs) -> None:
        super().__init__(match_low_quality=match_low_quality, **kwargs)
        if match_low_quality or num_instance < 1:
            raise ConfigError(
                'MultiInstanceAssigner needs match_low_quality=False and num_instance of at least 1, got '
                f'match_low_quality={match_low_quality} and num_instance={num_instance}'
            )
        self.num_instance = num_instance

    def assign_wrt_overlaps(
        self, overlaps: Tensor, gt_labels: Tensor, candidates: Tensor | None = None
    ) -> MultiInstanceAssignResult:
        first = super().assign_wrt_overlaps(overlaps, gt_labels, candidates)
        num_ranked = min(self.num_instance, overlaps.shape[0])
        ranked, objects = overlaps.topk(num_ranked, dim=0)
        gt_inds = torch.zeros(overlaps.shape[1], self.num_instance, dtype=torch.long, device=overlaps.device)
        matched = torch.where(self.is_positive(ranked), objects + 1, -1)
        matched = torch.where(self.is_background(ranked), 0, matched)
        # overlaps of priors to be ignored are negative
        gt_inds[:, :num_ranked] = torch.where(ranked < 0, -1, matched).T
        labels = labels_of(gt_inds, gt_labels)
        return MultiInstanceAssignResult(**vars(first), gt_inds_of_instances=gt_inds, labels_of_instances=labels)


def give_best_priors(overlaps: Tensor, wanted: Tensor, assign_all: bool, gt_inds: Tensor) -> None:
    """Give the ``wanted`` (m,) objects the priors that they overlap most, later objects before earlier ones.

    ``overlaps`` are (m, n). With ``assign_all`` an object takes all priors tied for its largest overlap, else the first
    of them. The objects ``gt_inds`` (n,) of the priors, counted from 1, are changed in place.
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
    gt_inds.copy_(torch.where(contested > 0, contested, gt_inds))


def move_repeated(boxes: Tensor, iou_thr: float, perm_range: float) -> Tensor:
    """Move the boxes that are equal to an earlier one a little, at random, so that they tie for no prior.

    Pictures are annotated with several names for the same thing.

    Args:
        boxes: (m, 4) xyxy.
        iou_thr: Overlap with where it was that a moved box must have. What has less after a few tries stays.
        perm_range: How far each side moves at most, as a share of the box's width or height.
    """
    _, kinds = boxes.unique(dim=0, return_inverse=True)
    same = kinds[:, None] == kinds[None]
    # equal to one before it: below the diagonal
    repeated = same.tril(-1).any(1)
    moved = boxes.clone()
    for _ in range(5):  # where a box is moved to may overlap too little with where it was
        if not repeated.any():
            break
        sizes = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        shifted = boxes + sizes * perm_range * (2 * torch.rand_like(boxes) - 1)
        overlaps = BboxOverlaps2D()(shifted, boxes, is_aligned=True)
        accepted = repeated & (overlaps >= iou_thr)
        moved = torch.where(accepted[:, None], shifted, moved)
        repeated = repeated & ~accepted
    return moved
