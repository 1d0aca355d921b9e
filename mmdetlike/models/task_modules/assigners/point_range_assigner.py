"""Assign points by the size of objects: FCOS, arXiv 1904.01355."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import bbox2distance, get_box_tensor

from .assign_result import AssignResult
from .base_assigner import BaseAssigner, best_object, points_inside


@TASK_UTILS.register_module()
class PointRangeAssigner(BaseAssigner):
    """Give each point the smallest of the objects that it lies in and that are of its level's size.

    Args:
        regress_ranges: For each level the range of an object's largest distance from the point, in pixels.
        center_sample_radius: Take only points within this many strides of the object's centre; None takes all.
    """

    needs_levels = True

    def __init__(
        self, regress_ranges: Sequence[tuple[float, float]], center_sample_radius: float | None = None
    ) -> None:
        super().__init__()
        self.regress_ranges, self.center_sample_radius = regress_ranges, center_sample_radius

    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: Sequence[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """See ``BaseAssigner``; objects have ``centers`` (m, 2) where these are not those of their boxes.

        Raises:
            ValueError: There is another number of levels than of ``regress_ranges``.
        """
        if len(num_level_priors) != len(self.regress_ranges):
            raise ValueError(
                f'regress_ranges has {len(self.regress_ranges)} entries, got {len(num_level_priors)} levels'
            )
        points, boxes = pred_instances.priors, get_box_tensor(gt_instances.bboxes)
        suits = points_inside(points[:, :2], self._regions(points, boxes, gt_instances.get('centers')))
        suits &= self._in_range(bbox2distance(points[:, None, :2], boxes).amax(-1), num_level_priors)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1).expand(len(points), -1)
        gt_inds, _ = best_object(-areas, suits)
        return AssignResult.of(gt_inds, (gt_inds > 0).to(points.dtype), gt_instances.labels)

    def _regions(self, points: Tensor, boxes: Tensor, centres: Tensor | None) -> Tensor:
        """(m, 4) where points of an object may lie: its box, or (n, m, 4) the part of that around its centre."""
        if self.center_sample_radius is None:
            return boxes
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 if centres is None else centres
        radius = points[:, None, 2:] * self.center_sample_radius
        low = torch.maximum(centres - radius, boxes[:, :2])
        return torch.cat([low, torch.minimum(centres + radius, boxes[:, 2:])], dim=-1)

    def _in_range(self, largest: Tensor, num_level_priors: Sequence[int]) -> Tensor:
        """(n, m) whether an object's largest distance (n, m) is in the range of the point's level."""
        ranges = torch.tensor(self.regress_ranges, dtype=largest.dtype, device=largest.device)
        ranges = ranges.repeat_interleave(torch.tensor(num_level_priors, device=largest.device), dim=0)
        return (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
