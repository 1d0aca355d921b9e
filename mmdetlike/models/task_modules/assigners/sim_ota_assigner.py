"""Simplified optimal transport assignment: YOLOX, arXiv 2107.08430."""

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .base_assigner import points_inside
from .dynamic_k import DynamicKAssigner

# PyTorch's cross entropy of probabilities ends here
WORST_LOG = -100


@TASK_UTILS.register_module()
class SimOTAAssigner(DynamicKAssigner):
    """Give an object the points with the best predictions among those in its box or near its center.

    Predicted ``scores`` are in [0, 1].

    Args:
        center_radius: How near to the center is near, in strides of a point.
        candidate_topk: Overlaps of an object whose sum says how many points it gets.
        cls_weight: Weight of the cross entropy of classes in the cost.
        iou_weight, iou_calculator: As of ``DynamicKAssigner``.
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        iou_calculator: dict | None = None,
    ) -> None:
        super().__init__(candidate_topk, iou_weight, iou_calculator)
        self.center_radius, self.cls_weight = center_radius, cls_weight

    def candidate_mask(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        return points_inside(points, boxes) | self._near_center(points, strides, boxes)

    def center_prior_cost(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        # a point that is not both in the box and near the center is taken only where no other is left
        return 1e8 * ~(points_inside(points, boxes) & self._near_center(points, strides, boxes))

    def _near_center(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        centers = geometry.centers(boxes)
        radius = self.center_radius * strides[:, None]
        return points_inside(points, torch.cat([centers - radius, centers + radius], dim=-1))

    def class_cost(self, scores: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
        """The binary cross entropy, summed over classes."""
        as_object = -scores.log().clamp(min=WORST_LOG)
        as_background = -(-scores).log1p().clamp(min=WORST_LOG)
        cost = as_background.sum(1, keepdim=True) + (as_object - as_background)[:, labels]
        return self.cls_weight * cost
