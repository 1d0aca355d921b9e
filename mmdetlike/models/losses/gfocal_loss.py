"""Generalized Focal Loss: quality focal loss and distribution focal loss (arXiv 2006.04388)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .cross_entropy_loss import one_hot_labels
from .reduction import Loss, weighted_loss


@weighted_loss
def quality_focal_loss(
    pred: Tensor, target: tuple[Tensor, Tensor] | Tensor, beta: float = 2.0, activated: bool = False
) -> Tensor:
    """Cross entropy with a quality as soft label, weighted by ``|quality - probability| ** beta``.

    Args:
        pred: Logits (n, c), or probabilities if ``activated``.
        target: ``(label, quality)``, both (n,), where a label outside [0, c) means background; or the quality of
            every class, (n, c).
        beta: Exponent of the modulating factor.
        activated: Whether ``pred`` holds probabilities.

    Returns:
        Sum over the classes, (n,).
    """
    if not isinstance(target, Tensor):
        label, quality = target
        target = one_hot_labels(label, pred.shape[1]) * quality.unsqueeze(1)
    target = target.to(pred.dtype)
    probability = pred if activated else pred.sigmoid()
    entropy = F.binary_cross_entropy if activated else F.binary_cross_entropy_with_logits
    loss = entropy(pred, target, reduction='none') * (target - probability).abs().pow(beta)
    return loss.sum(dim=1)


@weighted_loss
def distribution_focal_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the two integers beside a continuous target, weighted by its nearness to them.

    Args:
        pred: Logits of the integers 0 ... m, (n, m + 1).
        target: Distances in [0, m], (n,).

    Returns:
        (n,).
    """
    left = target.long().clamp(min=0, max=pred.shape[1] - 2)
    right_share = target - left
    nll = -pred.log_softmax(dim=1)
    around = nll.gather(1, torch.stack([left, left + 1], dim=1))
    return around[:, 0] * (1 - right_share) + around[:, 1] * right_share


@MODELS.register_module()
class QualityFocalLoss(Loss):
    """Quality focal loss (arXiv 2006.04388); ``target`` as of ``quality_focal_loss``, ``weight`` (n,).

    Args:
        use_sigmoid: Whether classes are independent binary decisions; only True is supported.
        beta: Exponent of the modulating factor.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
        activated: Whether ``pred`` holds probabilities.

    Raises:
        ValueError: ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('QualityFocalLoss is defined for sigmoid only: use_sigmoid must be True.')
        self.use_sigmoid = use_sigmoid
        self.beta = beta
        self.activated = activated

    def compute(self, pred: Tensor, target: tuple[Tensor, Tensor] | Tensor) -> Tensor:
        """Return the loss of each row, (n,)."""
        return quality_focal_loss.__wrapped__(pred, target, self.beta, self.activated)


@MODELS.register_module()
class DistributionFocalLoss(Loss):
    """Distribution focal loss (arXiv 2006.04388) of logits (n, m + 1) and distances (n,) in [0, m]."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (n,)."""
        return distribution_focal_loss.__wrapped__(pred, target)
