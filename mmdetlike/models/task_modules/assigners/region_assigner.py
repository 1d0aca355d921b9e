"""Assign the middle of objects on the level of their size: Guided Anchoring, arXiv 1901.03278."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .base_assigner import GeometricAssigner


@TASK_UTILS.register_module()
class RegionAssigner(GeometricAssigner):
    """Give each object the priors in the middle of its box, on the level whose anchors are nearest to its size.

    What lies around the middle is ignored there and on the two neighboring levels. Of objects that overlap the last
    one decides. Priors are square anchors of as many strides on each level.

    Args:
        center_ratio: Sides of the middle, over those of the box.
        ignore_ratio: Sides of what is ignored, over those of the box; a ``ValueError`` if below ``center_ratio``.
    """

    def __init__(self, center_ratio: float = 0.2, ignore_ratio: float = 0.5) -> None:
        super().__init__()
        if ignore_ratio < center_ratio:
            raise ValueError(f'ignore_ratio must be at least center_ratio={center_ratio}, got {ignore_ratio}')
        self.center_ratio, self.ignore_ratio = center_ratio, ignore_ratio

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        priors = get_box_tensor(pred_instances.priors)
        level_ids = pred_instances.level_ids
        gt_inds = torch.zeros_like(level_ids)
        if not len(boxes) or not len(priors):
            return gt_inds
        num_levels = int(level_ids[-1]) + 1
        # the level of the nearest anchors, which are twice as wide on the next one
        growth = geometry.areas(boxes).sqrt().log2() - geometry.sizes(priors).min().log2()
        gt_levels = (growth + 0.5).floor().long().clamp(0, num_levels - 1)
        for level in range(num_levels):
            rows = (level_ids == level).nonzero().squeeze(1)
            strides = pred_instances.strides[rows]
            in_cells = boxes / strides[:1].repeat(1, 2)
            gt_inds[rows] = self._assign_level(pred_instances.points[rows] / strides, in_cells, gt_levels - level)
        return gt_inds

    def _assign_level(self, points: Tensor, boxes: Tensor, steps: Tensor) -> Tensor:
        """Objects (n,) of a level's points, as in ``AssignResult``; ``steps`` (m,) lead to the levels of objects."""
        order = torch.arange(1, len(boxes) + 1, device=boxes.device)
        center = in_middle(points, boxes, self.center_ratio) & (steps == 0)
        around = in_middle(points, boxes, self.ignore_ratio)
        taken = (center * order).amax(1)
        last = (around & (steps == 0)).mul(order).amax(1)
        # the middle of an object counts unless a later object covers it with what is ignored around its own
        gt_inds = torch.where(taken == last, taken, -1)
        is_near = (around & (steps.abs() == 1)).any(1)
        return torch.where((gt_inds == 0) & is_near, -1, gt_inds)


def in_middle(points: Tensor, boxes: Tensor, ratio: float) -> Tensor:
    """(n, m) whether points (n, 2) lie in the middle of boxes (m, 4), whose sides are ``ratio`` of theirs, rounded."""
    margin = (1 - ratio) / 2
    # rounded to whole cells, as the original does
    low = ((1 - margin) * boxes[:, :2] + margin * boxes[:, 2:]).round()
    high = (margin * boxes[:, :2] + (1 - margin) * boxes[:, 2:]).round()
    return ((points[:, None] >= low) & (points[:, None] <= high)).all(-1)
