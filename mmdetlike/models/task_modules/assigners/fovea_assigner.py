"""Assign points by the middle of objects: FoveaBox, arXiv 1904.03797."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .base_assigner import GeometricAssigner, best_object, in_range_of_level


@TASK_UTILS.register_module()
class FoveaAssigner(GeometricAssigner):
    """Give each point the smallest of the objects in whose fovea it lies and that are of its level's size.

    The fovea is the object's box, shrunk around its center. One beyond the outermost points has the nearest of these.

    Args:
        scale_ranges: For each level the range of an object's size, the root of its area in pixels.
        sigma: Size of the fovea over that of the object.
    """

    def __init__(self, scale_ranges: Sequence[tuple[float, float]], sigma: float = 0.4) -> None:
        super().__init__()
        self.scale_ranges, self.sigma = scale_ranges, sigma

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        level_ids = pred_instances.level_ids
        sizes = geometry.areas(boxes).sqrt()
        suits = in_range_of_level(sizes, self.scale_ranges, level_ids, 'scale_ranges')
        suits &= self._in_fovea(pred_instances.points, level_ids, boxes)
        gt_inds, _ = best_object(-sizes.expand(len(level_ids), -1), suits)
        return gt_inds

    def _in_fovea(self, points: Tensor, level_ids: Tensor, boxes: Tensor) -> Tensor:
        """(n, m) whether points lie in the foveas of objects."""
        centers = geometry.centers(boxes)
        halves = geometry.sizes(boxes) / 2 * self.sigma
        levels = level_ids.unique_consecutive().tolist()
        first = torch.stack([points[level_ids == level].amin(0) for level in levels])[level_ids]
        last = torch.stack([points[level_ids == level].amax(0) for level in levels])[level_ids]
        # an object between the outermost points and the border would have no point: it gets the nearest ones
        low = torch.minimum(centers - halves, last[:, None])
        high = torch.maximum(centers + halves, first[:, None])
        return ((points[:, None] >= low) & (points[:, None] <= high)).all(-1)
