"""L1, smooth L1, balanced L1 and squared error."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss, weighted_loss


@weighted_loss
def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``|pred - target|``, of the shape of both."""
    return (pred - target).abs()


@weighted_loss
def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """L1 loss with a parabola below ``beta`` (Fast R-CNN, arXiv 1504.08083), of the shape of both arguments."""
    return F.smooth_l1_loss(pred, target, beta=beta, reduction='none')


@weighted_loss
def balanced_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0, alpha: float = 0.5, gamma: float = 1.5) -> Tensor:
    """L1 loss with larger gradients for small errors (Libra R-CNN, arXiv 1904.02701), of the shape of both arguments.

    The gradient is ``alpha * log(b * |x| / beta + 1)`` below ``beta`` and ``gamma`` above, with
    ``b = exp(gamma / alpha) - 1``.
    """
    error = (pred - target).abs()
    b = math.exp(gamma / alpha) - 1
    small = alpha / b * (b * error + beta) * torch.log1p(b * error / beta) - alpha * error
    return torch.where(error < beta, small, gamma * error + gamma * beta / b - alpha * beta)


@weighted_loss
def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``(pred - target) ** 2``, of the shape of both."""
    return F.mse_loss(pred, target, reduction='none')


@MODELS.register_module()
class L1Loss(Loss):
    """Absolute error."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        return l1_loss.__wrapped__(pred, target)


@MODELS.register_module()
class SmoothL1Loss(Loss):
    """Absolute error with a parabola below ``beta`` (Fast R-CNN, arXiv 1504.08083).

    Args:
        beta: Where the parabola meets the line; 0 gives ``L1Loss``.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
    """

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if beta < 0:
            raise ValueError(f'SmoothL1Loss needs beta >= 0, but got {beta}.')
        self.beta = beta

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        return smooth_l1_loss.__wrapped__(pred, target, self.beta)


@MODELS.register_module()
class BalancedL1Loss(Loss):
    """Balanced L1 loss (Libra R-CNN, arXiv 1904.02701).

    Args:
        alpha: Gradient of small errors.
        gamma: Gradient of errors above ``beta``.
        beta: Where both branches meet.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.5,
        beta: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0:
            raise ValueError(f'BalancedL1Loss needs beta > 0, but got {beta}.')
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        return balanced_l1_loss.__wrapped__(pred, target, self.beta, self.alpha, self.gamma)


@MODELS.register_module()
class MSELoss(Loss):
    """Squared error."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        return mse_loss.__wrapped__(pred, target)
