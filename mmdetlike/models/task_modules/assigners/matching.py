"""One prediction for each object, at the least total cost, and the costs of matching them: DETR, arXiv 2005.12872."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import bbox_overlaps, bbox_xyxy_to_cxcywh, geometry, get_box_tensor

from .base_assigner import AssignResult, BaseAssigner

# in place of costs that are not finite, which the solver refuses
WORST = 1e5


@TASK_UTILS.register_module()
class HungarianAssigner(BaseAssigner):
    """Match predictions and objects one to one, at the least total cost.

    Args:
        match_costs: Costs that are added up; a ``ValueError`` if there is none.
    """

    needs_predictions = True

    def __init__(self, match_costs: Sequence[dict] | dict) -> None:
        costs = [match_costs] if isinstance(match_costs, dict) else list(match_costs)
        if not costs:
            raise ValueError('match_costs must hold at least one cost, got none')
        super().__init__()
        self.match_costs = [TASK_UTILS.build(cost) for cost in costs]

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        """Assign objects to predictions; those that match nothing are background.

        Args:
            pred_instances: What the costs need of n predictions: ``scores`` (logits), ``bboxes`` (n, 4) xyxy in
                pixels, ``masks``; their metainfo has ``img_shape`` where a cost is about shares of the image.
            gt_instances: ``labels`` (m,) and what the costs need, ``bboxes`` or ``masks``.
        """
        num_preds = len(pred_instances)
        labels = gt_instances.labels
        gt_inds = torch.zeros(num_preds, dtype=torch.long, device=labels.device)
        if len(labels) and num_preds:
            costs = [cost(pred_instances, gt_instances, pred_instances.metainfo) for cost in self.match_costs]
            rows, columns = (inds.to(labels.device) for inds in cheapest(sum(costs)))
            gt_inds[rows] = columns + 1
        return AssignResult.from_gt_inds(gt_inds, torch.zeros(num_preds, device=labels.device), labels)


def cheapest(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the cheapest one-to-one assignment of a matrix, on the CPU; NaN counts as the worst."""
    from scipy.optimize import linear_sum_assignment  # here, as only training of such detectors needs it

    cost = torch.nan_to_num(cost.detach().float().cpu(), nan=WORST, posinf=WORST, neginf=-WORST)
    rows, columns = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(rows), torch.from_numpy(columns)


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
