"""Varifocal loss (VarifocalNet, arXiv 2008.13367)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss, weighted_loss


@weighted_loss
def varifocal_loss(
    pred: Tensor, target: Tensor, alpha: float = 0.75, gamma: float = 2.0, iou_weighted: bool = True
) -> Tensor:
    """Cross entropy with the IoU as soft label, where only negatives are down-weighted by their probability.

    Args:
        pred: Logits (n, c).
        target: IoU of positives, 0 of negatives, (n, c).
        alpha: Weight of negatives.
        gamma: Exponent of the modulating factor of negatives.
        iou_weighted: Whether positives are weighted by their IoU.

    Returns:
        (n, c).
    """
    target = target.to(pred.dtype)
    positive = target > 0
    of_positive = target if iou_weighted else positive.to(pred.dtype)
    of_negative = alpha * (pred.sigmoid() - target).abs().pow(gamma)
    loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
    return loss * torch.where(positive, of_positive, of_negative)


@MODELS.register_module()
class VarifocalLoss(Loss):
    """Varifocal loss (arXiv 2008.13367) of logits (n, c) and IoU targets (n, c).

    Args:
        use_sigmoid: Whether classes are independent binary decisions; only True is supported.
        alpha: Weight of negatives, not negative.
        gamma: Exponent of the modulating factor of negatives.
        iou_weighted: Whether positives are weighted by their IoU.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.

    Raises:
        ValueError: ``use_sigmoid`` is False or ``alpha`` negative.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('VarifocalLoss is defined for sigmoid only: use_sigmoid must be True.')
        if alpha < 0:
            raise ValueError(f'VarifocalLoss needs alpha >= 0, but got {alpha}.')
        self.use_sigmoid = use_sigmoid
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, (n, c)."""
        return varifocal_loss.__wrapped__(pred, target, self.alpha, self.gamma, self.iou_weighted)
