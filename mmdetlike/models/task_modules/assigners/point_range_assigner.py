"""Assign points by the size of objects: FCOS, arXiv 1904.01355."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .base_assigner import GeometricAssigner, best_object, in_range_of_level, points_inside


@TASK_UTILS.register_module()
class PointRangeAssigner(GeometricAssigner):
    """Give each point the smallest of the objects that it lies in and that are of its level's size.

    Objects have ``centers`` (m, 2) where these are not those of their boxes.

    Args:
        regress_ranges: For each level the range of an object's largest distance from the point, in pixels.
        center_sample_radius: Take only points within this many strides of the object's center; None takes all.
    """

    def __init__(
        self, regress_ranges: Sequence[tuple[float, float]], center_sample_radius: float | None = None
    ) -> None:
        super().__init__()
        self.regress_ranges, self.center_sample_radius = regress_ranges, center_sample_radius

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        points = pred_instances.points
        suits = points_inside(points, self._regions(pred_instances, boxes, gt_instances.get('centers')))
        largest_distances = geometry.side_distances(points[:, None], boxes).amax(-1)
        suits &= in_range_of_level(largest_distances, self.regress_ranges, pred_instances.level_ids, 'regress_ranges')
        areas = geometry.areas(boxes).expand(len(points), -1)
        # the smallest object that suits: a larger one has other points
        gt_inds, _ = best_object(-areas, suits)
        return gt_inds

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
