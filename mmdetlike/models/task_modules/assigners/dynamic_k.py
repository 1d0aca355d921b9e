"""Dynamic-k matching: how many priors an object gets follows from their overlaps: OTA, arXiv 2103.14259.

``SimOTAAssigner`` is that of YOLOX, arXiv 2107.08430, ``DynamicSoftLabelAssigner`` that of RTMDet, arXiv 2212.07784.
"""

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .base_assigner import AssignResult, BaseAssigner, points_inside, points_near

# PyTorch's cross entropy of probabilities ends here
WORST_LOG = -100


class DynamicKAssigner(BaseAssigner):
    """Base of assigners that give each object its cheapest points, by a cost of class, overlap and distance.

    Args:
        topk: Overlaps of an object whose sum says how many points it gets.
        iou_weight: Weight of -log(IoU) in the cost.
        iou_calculator: How overlap is measured.
    """

    needs_predictions = True

    def __init__(self, topk: int, iou_weight: float, iou_calculator: dict | None) -> None:
        super().__init__(iou_calculator)
        self.topk, self.iou_weight = topk, iou_weight

    def candidate_mask(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        """(n, m) whether ``points`` (n, 2) of ``strides`` (n, 2) may be assigned to ``boxes`` (m, 4): those in them."""
        return points_inside(points, boxes)

    def class_cost(self, scores: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
        """Cost (n, m) of scores (n, classes) for objects of classes (m,), with which boxes overlap by (n, m)."""
        raise NotImplementedError

    def center_prior_cost(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        """Cost (n, m) of the distance from ``points`` (n, 2), of ``strides`` (n, 2), to the centers of ``boxes``."""
        raise NotImplementedError

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        """Assign; points with an object have the overlap of their prediction as ``max_overlaps``."""
        points = pred_instances.points
        strides = pred_instances.strides
        boxes = get_box_tensor(gt_instances.bboxes)
        labels = gt_instances.labels
        predicted = get_box_tensor(pred_instances.bboxes)
        candidates = self.candidate_mask(points, strides, boxes).any(1).nonzero().squeeze(1)
        if not len(candidates):
            return AssignResult.all_background(predicted, labels)
        # costs are worked out for candidates alone, a few hundred of many thousand points
        ious = self.iou_calculator(predicted[candidates], boxes)
        cost = self.class_cost(pred_instances.scores[candidates].float(), labels, ious)
        # with 1e-7 the logarithm of an overlap of 0 is finite
        cost = cost - self.iou_weight * (ious + 1e-7).log()
        cost = cost + self.center_prior_cost(points[candidates], strides[candidates], boxes)
        rows, objects = dynamic_k_matching(cost, ious, self.topk)
        gt_inds = objects.new_zeros(len(points))
        quality = ious.new_full((len(points),), -1e8)  # of points that are no candidates
        gt_inds[candidates[rows]] = objects + 1
        quality[candidates[rows]] = ious[rows, objects]
        return AssignResult.from_gt_inds(gt_inds, quality, labels)


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
        return points_inside(points, boxes) | points_near(points, strides, geometry.centers(boxes), self.center_radius)

    def center_prior_cost(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        # a point that is not both in the box and near the center is taken only where no other is left
        is_near = points_near(points, strides, geometry.centers(boxes), self.center_radius)
        return 1e8 * ~(points_inside(points, boxes) & is_near)

    def class_cost(self, scores: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
        """The binary cross entropy, summed over classes."""
        as_object = -scores.log().clamp(min=WORST_LOG)
        as_background = -(-scores).log1p().clamp(min=WORST_LOG)
        cost = as_background.sum(1, keepdim=True) + (as_object - as_background)[:, labels]
        return self.cls_weight * cost


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


def dynamic_k_matching(cost: Tensor, ious: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """Give each object its cheapest priors, as many as the sum of its ``topk`` largest overlaps, at least one.

    ``cost`` and ``ious``, the overlaps of predicted boxes, are (n, m) of n priors and m objects. Returns the indices of
    the matched priors (k,), rising, and their objects (k,). A prior that several objects want goes to the one that is
    cheapest for it.
    """
    # objects that many predictions fit well get many: the sum of overlaps estimates how many
    counts = ious.topk(min(topk, len(ious)), dim=0).values.sum(0).int().clamp(1, len(ious))
    wanted = torch.zeros_like(cost, dtype=torch.bool)
    # `topk` takes one number for all columns, so objects of the same number are served at once
    for count in counts.unique().tolist():
        objects = (counts == count).nonzero().squeeze(1)
        rows = cost[:, objects].topk(count, dim=0, largest=False).indices
        wanted[rows, objects] = True
    several = wanted.sum(1) > 1
    cheapest = F.one_hot(cost.argmin(1), cost.shape[1]).bool()
    wanted = torch.where(several[:, None], cheapest, wanted)
    matched = wanted.any(1).nonzero().squeeze(1)
    return matched, wanted[matched].int().argmax(1)
