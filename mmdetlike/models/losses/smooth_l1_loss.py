"""Regression losses: L1, smooth L1, balanced L1 and squared error, one value for each coordinate."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss


@MODELS.register_module()
class L1Loss(Loss):
    """Absolute error."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        return (pred - target).abs()


@MODELS.register_module()
class MSELoss(Loss):
    """Squared error."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(pred, target, reduction='none')


@MODELS.register_module()
class SmoothL1Loss(Loss):
    """Absolute error with a parabola below ``beta`` (Fast R-CNN, arXiv 1504.08083).

    Args:
        beta: Where the parabola meets the line; 0 gives ``L1Loss``.
        reduction, loss_weight: As of ``Loss``.
    """

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if beta < 0:
            raise ValueError(f'SmoothL1Loss needs beta >= 0, but got {beta}.')
        self.beta = beta

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(pred, target, beta=self.beta, reduction='none')


@MODELS.register_module()
class HuberLoss(Loss):
    """``beta`` times ``SmoothL1Loss``, so that the parabola is the same for every ``beta`` (EfficientDet, 1911.09070).

    Args:
        beta: Where the parabola meets the line; positive.
        reduction, loss_weight: As of ``Loss``.

    Raises:
        ValueError: ``beta`` is not positive.
    """

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0:
            raise ValueError(f'HuberLoss needs beta > 0, but got {beta}.')
        self.beta = beta

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(pred, target, delta=self.beta, reduction='none')


@MODELS.register_module()
class BalancedL1Loss(Loss):
    """L1 loss with larger gradients for small errors (Libra R-CNN, arXiv 1904.02701).

    With ``beta=1`` the gradient is ``alpha * log(b * |x| + 1)`` below ``beta`` and ``gamma`` above, with
    ``b = exp(gamma / alpha) - 1``. With another one it is larger for the smallest errors, as in the original.

    Args:
        alpha: Gradient of small errors.
        gamma: Gradient of errors above ``beta``.
        beta: Where both branches meet.
        reduction, loss_weight: As of ``Loss``.
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
        self.alpha, self.gamma, self.beta = alpha, gamma, beta

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        alpha = self.alpha
        gamma = self.gamma
        beta = self.beta
        error = (pred - target).abs()
        # chosen so that the gradient is continuous at beta; the constant of the linear branch makes the value so
        b = math.exp(gamma / alpha) - 1
        # the paper's formula is for beta = 1; its integral for others would have beta in place of the two ones
        small = alpha / b * (b * error + 1) * torch.log1p(b * error / beta) - alpha * error
        return torch.where(error < beta, small, gamma * error + gamma / b - alpha * beta)
