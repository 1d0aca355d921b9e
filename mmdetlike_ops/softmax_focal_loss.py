"""Softmax focal loss of logits against class indices."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .sigmoid_focal_loss import FocalLoss, check_focal, reduce_rows, weight_of_rows

_NO_CLASS = -100


def softmax_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Softmax focal loss (Focal Loss for Dense Object Detection, arXiv 1708.02002).

    With p the softmax of the target class, a row costs -alpha (1 - p)^gamma log(p); computed in float32 or wider and
    stable for logits of any size.

    Args:
        input: (n, c) logits, c >= 1.
        target: (n,) class indices, int64; a row whose index is outside 0..c-1 costs nothing.
        gamma: How much easy examples lose weight; not negative.
        alpha: Factor of the loss.
        weight: (c,) factor of a row by its target class.
        reduction: 'none', 'sum', or 'mean': the sum over the number of rows.

    Returns:
        (n,) for 'none', else a scalar.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_focal('softmax_focal_loss', input, target, gamma, reduction)
    if input.shape[1] == 0:
        raise ValueError('softmax_focal_loss: input has shape (n, 0), at least one class is expected')
    labels = torch.where((target < 0) | (target >= input.shape[1]), _NO_CLASS, target)
    logits = input if input.dtype == torch.float64 else input.float()
    cost = F.cross_entropy(logits, labels, reduction='none', ignore_index=_NO_CLASS)
    # 1 - p, kept from 0, where the derivative of a power below 1 is infinite
    # expm1 keeps the digits of 1 - exp(-cost) where the cost is small
    rest = (-torch.expm1(-cost)).clamp(min=torch.finfo(cost.dtype).tiny)
    loss = (alpha * rest**gamma * cost).to(input.dtype)
    if weight is not None:
        loss = loss * weight_of_rows('softmax_focal_loss', weight, target, input.shape[1])
    return reduce_rows(loss, reduction)


class SoftmaxFocalLoss(FocalLoss):
    """`softmax_focal_loss` as a module; its arguments are those of the function."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (n, c) against class indices (n,)."""
        return softmax_focal_loss(input, target, self.gamma, self.alpha, self.weight, self.reduction)
