"""Dynamic assignment by soft labels: RTMDet, arXiv 2212.07784."""

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners.assign_result import AssignResult
from mmdetlike.models.task_modules.assigners.dynamic_k import match, nothing_assigned
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

EPS = 1e-7


@TASK_UTILS.register_module()
class DynamicSoftLabelAssigner:
    """Give an object the points in its box that classify and locate it best, those near its centre first.

    Args:
        soft_center_radius: Strides from the centre at which distance costs 1; it costs ten times as much a stride on.
        topk: Overlaps of an object whose sum says how many points it gets.
        iou_weight: Weight of -log(IoU) in the cost.
        iou_calculator: How overlap is measured.
    """

    needs_predictions = True

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: dict | None = None,
    ) -> None:
        self.soft_center_radius, self.topk, self.iou_weight = soft_center_radius, topk, iou_weight
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
                ``scores`` (n, classes), logits.
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,).
            gt_instances_ignore: Not used.

        Returns:
            Assigned points have the overlap of their prediction as ``max_overlaps``.
        """
        points, boxes = pred_instances.priors, get_box_tensor(gt_instances.bboxes)
        predicted = get_box_tensor(pred_instances.bboxes)
        places = points[:, None, :2]
        inside = torch.cat([places - boxes[:, :2], boxes[:, 2:] - places], -1).amin(-1) > 0
        candidates = inside.any(1).nonzero().squeeze(1)
        if not len(candidates):
            return nothing_assigned(len(points), gt_instances, predicted)
        ious = self.iou_calculator(predicted[candidates], boxes)
        cost = soft_label_costs(pred_instances.scores[candidates].float(), gt_instances.labels, ious)
        cost = cost - self.iou_weight * (ious + EPS).log() + self._distance_cost(points[candidates], boxes)
        return match(candidates, cost, ious, self.topk, len(points), gt_instances)

    def _distance_cost(self, points: Tensor, boxes: Tensor) -> Tensor:
        """(n, m), from points (n, 4) and boxes (m, 4)."""
        offsets = points[:, None, :2] - (boxes[:, :2] + boxes[:, 2:]) / 2
        strides = offsets.square().sum(-1).sqrt() / points[:, None, 2]
        return 10 ** (strides - self.soft_center_radius)


def soft_label_costs(logits: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
    """(n, m) the quality focal loss, summed over classes, of logits (n, classes) whose targets are ious (n, m).

    A target is the overlap at the class ``labels`` (m,) of the object, 0 elsewhere.
    """
    as_background = F.softplus(logits) * logits.sigmoid().square()
    own = logits[:, labels]
    as_object = F.binary_cross_entropy_with_logits(own, ious, reduction='none') * (ious - own.sigmoid()).square()
    return as_background.sum(1, keepdim=True) - as_background[:, labels] + as_object
