"""Simplified optimal transport assignment: YOLOX, arXiv 2107.08430."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners.assign_result import AssignResult
from mmdetlike.models.task_modules.assigners.dynamic_k import match, nothing_assigned
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

EPS = 1e-7
FAR = 1e8
# PyTorch's cross entropy of probabilities ends here
WORST_LOG = -100


@TASK_UTILS.register_module()
class SimOTAAssigner:
    """Give an object the points that classify and locate it best, among those in its box or near its centre.

    Args:
        center_radius: How near to the centre is near, in strides of a point.
        candidate_topk: Overlaps of an object whose sum says how many points it gets.
        iou_weight: Weight of -log(IoU) in the cost.
        cls_weight: Weight of the cross entropy of classes in the cost.
        iou_calculator: How overlap is measured.
    """

    needs_predictions = True

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        iou_calculator: dict | None = None,
    ) -> None:
        self.center_radius, self.candidate_topk = center_radius, candidate_topk
        self.iou_weight, self.cls_weight = iou_weight, cls_weight
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign objects to points.

        Args:
            pred_instances: ``priors`` (n, 4), x, y and strides; ``bboxes`` (n, 4) predicted, xyxy in pixels;
                ``scores`` (n, classes) in [0, 1].
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,).
            gt_instances_ignore: Not used.

        Returns:
            Assigned points have the overlap of their prediction as ``max_overlaps``.
        """
        points, boxes = pred_instances.priors, get_box_tensor(gt_instances.bboxes)
        predicted = get_box_tensor(pred_instances.bboxes)
        in_box, near = self._around(points, boxes)
        candidates = (in_box | near).any(1).nonzero().squeeze(1)
        if not len(candidates):
            return nothing_assigned(len(points), gt_instances, predicted)
        ious = self.iou_calculator(predicted[candidates], boxes)
        class_cost = cross_entropies(pred_instances.scores[candidates].float(), gt_instances.labels)
        cost = self.cls_weight * class_cost - self.iou_weight * (ious + EPS).log()
        cost = cost + FAR * ~(in_box & near)[candidates]
        return match(candidates, cost, ious, self.candidate_topk, len(points), gt_instances)

    def _around(self, points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(n, m) each, whether a point lies in a box and whether it lies near its centre."""
        places, radius = points[:, None, :2], self.center_radius * points[:, None, 2:]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        in_box = torch.cat([places - boxes[:, :2], boxes[:, 2:] - places], -1).amin(-1) > 0
        near = torch.cat([places - (centres - radius), (centres + radius) - places], -1).amin(-1) > 0
        return in_box, near


def cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """(n, m) the binary cross entropy, summed over classes, of scores (n, classes) if the class is ``labels`` (m,)."""
    as_object = -scores.log().clamp(min=WORST_LOG)
    as_background = -(-scores).log1p().clamp(min=WORST_LOG)
    return as_background.sum(1, keepdim=True) + (as_object - as_background)[:, labels]
