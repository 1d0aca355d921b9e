"""Assign points by the size of objects: FCOS, arXiv 1904.01355."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners.assign_result import AssignResult
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor


@TASK_UTILS.register_module()
class PointRangeAssigner:
    """Give each point the smallest of the objects that it lies in and that are of its level's size.

    Args:
        regress_ranges: For each level the range of an object's largest distance from the point, in pixels.
        center_sample_radius: Take only points within this many strides of the object's centre; None takes all.
    """

    needs_levels = True

    def __init__(
        self, regress_ranges: Sequence[tuple[float, float]], center_sample_radius: float | None = None
    ) -> None:
        self.regress_ranges, self.center_sample_radius = regress_ranges, center_sample_radius

    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: Sequence[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign objects to points.

        Args:
            pred_instances: ``priors`` (n, 4), x, y and the strides of the level, in pixels.
            num_level_priors: Points in each level.
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels, ``labels`` (m,) and, where an object's centre is not that
                of its box, ``centers`` (m, 2).
            gt_instances_ignore: Not used.

        Raises:
            ValueError: There is another number of levels than of ``regress_ranges``.
        """
        if len(num_level_priors) != len(self.regress_ranges):
            raise ValueError(
                f'regress_ranges has {len(self.regress_ranges)} entries, got {len(num_level_priors)} levels'
            )
        points, boxes = pred_instances.priors, get_box_tensor(gt_instances.bboxes)
        gt_inds = torch.zeros(len(points), dtype=torch.long, device=points.device)
        labels = torch.full_like(gt_inds, -1)
        if not len(boxes):
            return AssignResult(0, gt_inds, points.new_zeros(len(points)), labels)
        distances = torch.cat([points[:, None, :2] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None, :2]], -1)
        suits = self._inside(points, boxes, distances, gt_instances.get('centers')) & self._in_range(
            distances.amax(-1), num_level_priors
        )
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1).expand(len(points), -1)
        smallest, best = torch.where(suits, areas, torch.inf).min(1)
        positive = smallest < torch.inf
        gt_inds[positive] = best[positive] + 1
        labels[positive] = gt_instances.labels[best[positive]]
        return AssignResult(len(boxes), gt_inds, positive.to(points.dtype), labels)

    def _inside(self, points: Tensor, boxes: Tensor, distances: Tensor, centres: Tensor | None) -> Tensor:
        """(n, m) whether a point lies in a box, or in the part of it around its centre."""
        if self.center_sample_radius is None:
            return distances.amin(-1) > 0
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 if centres is None else centres
        radius = points[:, None, 2:] * self.center_sample_radius
        low = torch.maximum(centres[None] - radius, boxes[None, :, :2])
        high = torch.minimum(centres[None] + radius, boxes[None, :, 2:])
        return torch.cat([points[:, None, :2] - low, high - points[:, None, :2]], -1).amin(-1) > 0

    def _in_range(self, largest: Tensor, num_level_priors: Sequence[int]) -> Tensor:
        """(n, m) whether an object's largest distance (n, m) is in the range of the point's level."""
        ranges = torch.tensor(self.regress_ranges, dtype=largest.dtype, device=largest.device)
        ranges = ranges.repeat_interleave(torch.tensor(num_level_priors, device=largest.device), dim=0)
        return (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
