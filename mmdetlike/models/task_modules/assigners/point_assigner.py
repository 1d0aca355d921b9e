"""Assign the points next to the center of an object: RepPoints, arXiv 1904.11490."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .base_assigner import GeometricAssigner, best_object


@TASK_UTILS.register_module()
class PointAssigner(GeometricAssigner):
    """Give each object the points nearest to its center, on the level of its size.

    The level of an object of sides w and h is that of the stride 2 ** floor(log2(sqrt(w * h) / scale)). A contested
    point goes to the nearer object, by distances in sides of the object.

    Args:
        scale: Side of an object over the stride of its level, at least; see above.
        pos_num: Points of each object.
    """

    def __init__(self, scale: float = 4, pos_num: int = 3) -> None:
        super().__init__()
        self.scale, self.pos_num = scale, pos_num

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        # distances are divided by sides, which some boxes lack
        sides = geometry.sizes(boxes).clamp(min=1e-6)
        distances = ((pred_instances.points[:, None] - geometry.centers(boxes)) / sides).norm(dim=-1)
        on_level = self._on_level(pred_instances.strides[:, 0], sides)
        gt_inds, _ = best_object(-distances, on_level & self._nearest(distances, on_level))
        return gt_inds

    def _on_level(self, strides: Tensor, sides: Tensor) -> Tensor:
        """(n, m) whether points with ``strides`` (n,) are on the level of objects with ``sides`` (m, 2)."""
        levels = strides.log2().int()
        # truncated, then clipped to the levels that there are
        gt_levels = (sides / self.scale).log2().mean(-1).int().clamp(levels.min(), levels.max())
        return levels[:, None] == gt_levels

    def _nearest(self, distances: Tensor, candidates: Tensor) -> Tensor:
        """(n, m) whether a point is among the ``pos_num`` nearest of the ``candidates`` (n, m) of an object."""
        count = min(self.pos_num, len(distances))
        chosen = torch.where(candidates, distances, torch.inf).topk(count, dim=0, largest=False).indices
        return torch.zeros_like(candidates).scatter_(0, chosen, True)
