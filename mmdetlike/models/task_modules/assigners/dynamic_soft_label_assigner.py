"""Dynamic assignment by soft labels: RTMDet, arXiv 2212.07784."""

import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .base_assigner import points_inside
from .dynamic_k import DynamicKAssigner


@TASK_UTILS.register_module()
class DynamicSoftLabelAssigner(DynamicKAssigner):
    """Give an object the points in its box with the best predictions, at a cost that grows away from its center.

    Predicted ``scores`` are logits.

    Args:
        soft_center_radius: Strides from the center at which distance costs 1; it costs ten times as much a stride on.
        topk, iou_weight, iou_calculator: See ``DynamicKAssigner``.
    """

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: dict | None = None,
    ) -> None:
        super().__init__(topk, iou_weight, iou_calculator)
        self.soft_center_radius = soft_center_radius

    def candidate_mask(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        return points_inside(points, boxes)

    def center_prior_cost(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        offsets = points[:, None] - geometry.centers(boxes)
        distances = offsets.square().sum(-1).sqrt() / strides[:, :1]
        return 10 ** (distances - self.soft_center_radius)

    def class_cost(self, scores: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
        """The quality focal loss, summed over classes; its target is the overlap at the object's class, 0 elsewhere."""
        as_background = F.softplus(scores) * scores.sigmoid().square()
        # only the term of the object's own class differs from that of background
        own = scores[:, labels]
        as_object = F.binary_cross_entropy_with_logits(own, ious, reduction='none') * (ious - own.sigmoid()).square()
        return as_background.sum(1, keepdim=True) - as_background[:, labels] + as_object
