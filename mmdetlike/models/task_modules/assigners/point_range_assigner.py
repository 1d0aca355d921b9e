"""Assign points by the size of objects: FCOS, arXiv 1904.01355."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .assign_result import AssignResult
from .base_assigner import BaseAssigner, best_object, points_inside


@TASK_UTILS.register_module()
class PointRangeAssigner(BaseAssigner):
    """Give each point the smallest of the objects that it lies in and that are of its level's size.

    Args:
        regress_ranges: For each level the range of an object's largest distance from the point, in pixels.
        center_sample_radius: Take only points within this many strides of the object's center; None takes all.
    """

    def __init__(
        self, regress_ranges: Sequence[tuple[float, float]], center_sample_radius: float | None = None
    ) -> None:
        super().__init__()
        self.regress_ranges, self.center_sample_radius = regress_ranges, center_sample_radius

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """See ``BaseAssigner``; objects have ``centers`` (m, 2) where these are not those of their boxes.

        Raises:
            ValueError: There is another number of levels than of ``regress_ranges``.
        """
        points = pred_instances.points
        level_ids = pred_instances.level_ids
        num_levels = int(level_ids.amax()) + 1
        if num_levels != len(self.regress_ranges):
            raise ValueError(f'regress_ranges has {len(self.regress_ranges)} entries, got {num_levels} levels')
        boxes = geometry.require_horizontal(get_box_tensor(gt_instances.bboxes), type(self).__name__)
        suits = points_inside(points, self._regions(pred_instances, boxes, gt_instances.get('centers')))
        suits &= self._in_range(geometry.side_distances(points[:, None], boxes).amax(-1), level_ids)
        areas = geometry.areas(boxes).expand(len(points), -1)
        # the smallest object that suits: a larger one has other points
        gt_inds, _ = best_object(-areas, suits)
        return AssignResult.from_gt_inds(gt_inds, (gt_inds > 0).to(points.dtype), gt_instances.labels)

    def _regions(self, pred_instances: InstanceData, boxes: Tensor, centers: Tensor | None) -> Tensor:
        """(m, 4) where points of an object may lie: its box, or (n, m, 4) the part of that around its center."""
        if self.center_sample_radius is None:
            return boxes
        if centers is None:
            centers = geometry.centers(boxes)
        radius = pred_instances.strides[:, None] * self.center_sample_radius
        low = torch.maximum(centers - radius, boxes[:, :2])
        high = torch.minimum(centers + radius, boxes[:, 2:])
        return torch.cat([low, high], dim=-1)

    def _in_range(self, largest: Tensor, level_ids: Tensor) -> Tensor:
        """(n, m) whether an object's largest distance (n, m) is in the range of the point's level."""
        ranges = torch.tensor(self.regress_ranges, dtype=largest.dtype, device=largest.device)
        ranges = ranges[level_ids]
        return (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
