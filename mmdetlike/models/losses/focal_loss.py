"""Focal loss (Focal Loss for Dense Object Detection, arXiv 1708.02002)."""

import functools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .cross_entropy_loss import one_hot_labels
from .reduction import Loss


@functools.cache
def _kernel() -> Callable[..., Tensor] | None:
    try:
        from mmdetlike_ops import sigmoid_focal_loss
    except ImportError:
        return None
    return sigmoid_focal_loss


def focal_loss_of_dense_target(
    pred: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25, activated: bool = False
) -> Tensor:
    """Focal loss per element, in plain PyTorch.

    Args:
        pred: Logits (n, c), or probabilities if ``activated``.
        target: Targets in [0, 1], (n, c).
        gamma: Exponent of the modulating factor.
        alpha: Weight of positives; negatives have ``1 - alpha``.
        activated: Whether ``pred`` holds probabilities.

    Returns:
        (n, c).
    """
    target = target.to(pred.dtype)
    probability = pred if activated else pred.sigmoid()
    wrong = (1 - probability) * target + probability * (1 - target)
    balance = alpha * target + (1 - alpha) * (1 - target)
    entropy = F.binary_cross_entropy if activated else F.binary_cross_entropy_with_logits
    return entropy(pred, target, reduction='none') * balance * wrong.pow(gamma)


def sigmoid_focal_loss(
    pred: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25, activated: bool = False
) -> Tensor:
    """Focal loss per element; the fused kernel of ``mmdetlike_ops`` does it for class indices.

    Args:
        pred: Logits (n, c), or probabilities if ``activated``.
        target: Class indices (n,), where a value outside [0, c) means background, or targets in [0, 1], (n, c).
        gamma: Exponent of the modulating factor.
        alpha: Weight of positives; negatives have ``1 - alpha``.
        activated: Whether ``pred`` holds probabilities.

    Returns:
        (n, c).
    """
    if target.dim() == pred.dim():
        return focal_loss_of_dense_target(pred, target, gamma, alpha, activated)
    kernel = _kernel()
    if kernel is None or activated or pred.dim() != 2:
        return focal_loss_of_dense_target(pred, one_hot_labels(target, pred.shape[1]), gamma, alpha, activated)
    return kernel(pred, target.long(), gamma=gamma, alpha=alpha, weight=None, reduction='none')


@MODELS.register_module()
class FocalLoss(Loss):
    """Focal loss of class logits (arXiv 1708.02002).

    ``pred`` is (n, c); ``target`` holds class indices (n,), with c for background, or targets in [0, 1] of shape
    (n, c); ``weight`` is (n,) or (n, c).

    Args:
        use_sigmoid: Whether classes are independent binary decisions; only True is supported.
        gamma: Exponent of the modulating factor.
        alpha: Weight of positives.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
        activated: Whether ``pred`` holds probabilities.

    Raises:
        ValueError: ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('FocalLoss is defined for sigmoid only: use_sigmoid must be True.')
        self.use_sigmoid = use_sigmoid
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, (n, c)."""
        return sigmoid_focal_loss(pred, target, self.gamma, self.alpha, self.activated)
