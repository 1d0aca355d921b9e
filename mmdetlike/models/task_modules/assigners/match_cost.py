"""Costs of matching a prediction with an object, for the Hungarian algorithm: DETR, arXiv 2005.12872.

Each is called with predictions and objects of one image and returns a matrix (predictions, objects).
"""

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import bbox_overlaps, bbox_xyxy_to_cxcywh, geometry, get_box_tensor


class MatchCost:
    """Base of the costs.

    Args:
        weight: Factor of the cost; all costs have it.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None
    ) -> Tensor:
        """Costs (n, m) of n predictions and m objects."""
        return self.weight * self.cost(pred_instances, gt_instances, img_meta)

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        """Costs (n, m), not weighted."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(f"{k}={v!r}" for k, v in vars(self).items())})'


def horizontal_pair(cost: MatchCost, *instances: InstanceData) -> list[Tensor]:
    """The boxes (n, 4) of predictions and objects; a ``ConfigError`` names ``cost`` where they are rotated."""
    boxes = [get_box_tensor(each.bboxes) for each in instances]
    return [geometry.require_horizontal(each, type(cost).__name__) for each in boxes]


@TASK_UTILS.register_module()
class BBoxL1Cost(MatchCost):
    """L1 distance of boxes, normalized by the size of the image.

    Args:
        box_format: ``'xyxy'`` or ``'xywh'`` (center and size), in which they are compared.
    """

    def __init__(self, box_format: str = 'xyxy', weight: float = 1.0) -> None:
        super().__init__(weight)
        if box_format not in ('xyxy', 'xywh'):
            raise ValueError(f"box_format must be 'xyxy' or 'xywh', got {box_format!r}")
        self.box_format = box_format

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        boxes = horizontal_pair(self, pred_instances, gt_instances)
        if self.box_format == 'xywh':
            boxes = [bbox_xyxy_to_cxcywh(b) for b in boxes]
        # in shares of the image, so that the cost weighs the same against others whatever its size
        height, width = img_meta['img_shape'][:2]
        size = boxes[0].new_tensor([width, height] * 2)
        return torch.cdist(boxes[0] / size, boxes[1].to(boxes[0]) / size, p=1)


@TASK_UTILS.register_module()
class IoUCost(MatchCost):
    """Minus the overlap of boxes.

    Args:
        iou_mode: ``'iou'`` or ``'giou'``.
    """

    def __init__(self, iou_mode: str = 'giou', weight: float = 1.0) -> None:
        super().__init__(weight)
        self.iou_mode = iou_mode

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        pred, gt = horizontal_pair(self, pred_instances, gt_instances)
        return -bbox_overlaps(pred, gt.to(pred), self.iou_mode)


@TASK_UTILS.register_module()
class ClassificationCost(MatchCost):
    """Minus the probability (softmax of logits ``scores``) of the object's class."""

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        return -pred_instances.scores.softmax(-1)[:, gt_instances.labels]


@TASK_UTILS.register_module()
class FocalLossCost(MatchCost):
    """How the focal loss would change if a prediction became positive, by class logits ``scores`` or mask logits.

    Args:
        alpha: Weight of positives.
        gamma: Exponent of the modulating factor.
        eps: Added to probabilities before their logarithm.
        binary_input: Compare ``masks`` of predictions (n, ...) and objects (m, ...), not classes.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2,
        eps: float = 1e-12,
        binary_input: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.alpha, self.gamma, self.eps, self.binary_input = alpha, gamma, eps, binary_input

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        logits = pred_instances.masks.flatten(1) if self.binary_input else pred_instances.scores
        probability = logits.sigmoid()
        positive = -(probability + self.eps).log() * self.alpha * (1 - probability) ** self.gamma
        negative = -(1 - probability + self.eps).log() * (1 - self.alpha) * probability**self.gamma
        if not self.binary_input:
            return (positive - negative)[:, gt_instances.labels]
        # summed over pixels by two products, without a table of predictions, objects and pixels
        masks = gt_instances.masks.flatten(1).to(logits.dtype)
        return (positive @ masks.T + negative @ (1 - masks).T) / logits.shape[1]


@TASK_UTILS.register_module()
class DiceCost(MatchCost):
    """Dice loss of masks (V-Net, arXiv 1606.04797).

    Args:
        pred_act: Masks of predictions are logits.
        eps: Added to numerator and denominator.
        naive_dice: Sum probabilities in the denominator, not their squares.
    """

    def __init__(self, pred_act: bool = False, eps: float = 1e-3, naive_dice: bool = True, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.pred_act, self.eps, self.naive_dice = pred_act, eps, naive_dice

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        pred = pred_instances.masks.flatten(1)
        pred = pred.sigmoid() if self.pred_act else pred
        gt = gt_instances.masks.flatten(1).to(pred.dtype)
        common = 2 * (pred @ gt.T)
        sizes = [m.sum(1) if self.naive_dice else m.pow(2).sum(1) for m in (pred, gt)]
        return 1 - (common + self.eps) / (sizes[0][:, None] + sizes[1][None] + self.eps)


@TASK_UTILS.register_module()
class CrossEntropyLossCost(MatchCost):
    """Binary cross entropy of masks, the mean over pixels.

    Args:
        use_sigmoid: Must be True: masks of predictions are logits.
    """

    def __init__(self, use_sigmoid: bool = True, weight: float = 1.0) -> None:
        super().__init__(weight)
        if not use_sigmoid:
            raise ValueError('CrossEntropyLossCost is defined for use_sigmoid=True')
        self.use_sigmoid = use_sigmoid

    def cost(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None) -> Tensor:
        logits = pred_instances.masks.flatten(1)
        gt = gt_instances.masks.flatten(1).to(logits.dtype)
        # of a pixel log(1 + e^x) - y x: the part without y is the same for all objects
        common = F.softplus(logits).sum(1, keepdim=True)
        return (common - logits @ gt.T) / logits.shape[1]
