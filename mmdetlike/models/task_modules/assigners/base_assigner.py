"""The bases of the assigners: how overlap is measured, which priors are ignored, who takes a contested prior."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .assign_result import AssignResult


class BaseAssigner:
    """Base of the assigners, which tell for which object each prior of an image is responsible.

    Args:
        iou_calculator: How overlap is measured.
        ignore_iof_thr: Priors that lie in an ignored box by more than this share are ignored; negative switches off.
        ignore_wrt_candidates: Measure that share by the prior's area; by the ignored box's where False.

    Attributes:
        needs_predictions: Whether ``assign`` looks at predictions.
    """

    needs_predictions = False

    def __init__(
        self, iou_calculator: dict | None = None, ignore_iof_thr: float = -1, ignore_wrt_candidates: bool = True
    ) -> None:
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign m objects to n priors of an image.

        Args:
            pred_instances: A row for each prior. ``priors`` are anchors (n, 4) xyxy or points (n, 2), in pixels; heads
                also give ``points`` (n, 2), the points or the centers of anchors, ``strides`` (n, 2) and ``level_ids``
                (n,), rising. With ``needs_predictions`` there are ``bboxes`` (n, 4) xyxy in pixels and ``scores``
                (n, classes) too.
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,).
            gt_instances_ignore: ``bboxes`` (k, 4) of regions that are neither objects nor background; a class that says
                nothing of them does not use them.
        """
        raise NotImplementedError

    def ignored(self, priors: Tensor, ignore: InstanceData | None) -> Tensor | None:
        """Mask (n,) of the priors that lie in an ignored box; None where nothing is ignored."""
        if self.ignore_iof_thr <= 0 or ignore is None or not len(ignore) or not len(priors):
            return None
        boxes = geometry.as_kind_of(get_box_tensor(ignore.bboxes), priors).to(priors.device)
        if self.ignore_wrt_candidates:
            share = self.iou_calculator(priors, boxes, mode='iof').amax(1)
        else:
            share = self.iou_calculator(boxes, priors, mode='iof').amax(0)
        return share > self.ignore_iof_thr


class GeometricAssigner(BaseAssigner):
    """Base of the assigners that choose by the place and size of objects alone, which are axis-aligned boxes."""

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        """The object (n,) of each prior, as in ``AssignResult.gt_inds``, by the objects' ``boxes`` (m, 4)."""
        raise NotImplementedError

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        boxes = geometry.require_horizontal(get_box_tensor(gt_instances.bboxes), type(self).__name__)
        gt_inds = self.objects_of_priors(pred_instances, gt_instances, boxes)
        return AssignResult.from_gt_inds(gt_inds, (gt_inds > 0).to(boxes.dtype), gt_instances.labels)


def in_range_of_level(values: Tensor, ranges: Sequence[tuple[float, float]], level_ids: Tensor, name: str) -> Tensor:
    """(n, m) whether ``values`` (n, m) or (m,) are in the one of ``ranges`` that belongs to the level (n,) of a prior.

    Raises:
        ValueError: There is another number of levels than of ranges, which are called ``name``.
    """
    num_levels = int(level_ids.amax()) + 1
    if num_levels != len(ranges):
        raise ValueError(f'{name} has {len(ranges)} entries, got {num_levels} levels')
    low, high = values.new_tensor(ranges)[level_ids].split(1, dim=1)
    return (values >= low) & (values <= high)


def points_inside(points: Tensor, boxes: Tensor, margin: float = 0.0) -> Tensor:
    """(n, m) whether points (n, 2) lie in boxes (m, 4 or 5) or (n, m, 4 or 5) by more than ``margin``, in pixels."""
    # the nearest side decides; outside of a box its distance is negative
    return geometry.side_distances(points[:, None], boxes).amin(-1) > margin


def best_object(quality: Tensor, suits: Tensor) -> tuple[Tensor, Tensor]:
    """Choose for each prior the object of the best ``quality`` (n, m) among those that ``suits`` (n, m) allows.

    Returns objects (n,), counted from 1, 0 where none suits, and their quality (n,), -inf where none suits.
    """
    if not quality.shape[1]:  # no objects, of which there is no maximum
        best = quality.new_zeros(len(quality))
        return torch.zeros_like(best, dtype=torch.long), best
    best, gt = torch.where(suits, quality, -torch.inf).max(1)
    return torch.where(best > -torch.inf, gt + 1, 0), best
