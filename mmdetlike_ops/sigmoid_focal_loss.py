"""Sigmoid focal loss of logits against class indices."""

import torch
from torch import Tensor, nn

from ._checks import check_choice, check_device, check_floating, check_vector
from ._library import kernels

_REDUCTIONS = ('none', 'mean', 'sum')


@torch.library.register_fake('mmdetlike_ops::sigmoid_focal_loss')
def _fake_loss(input, target, gamma, alpha):
    return torch.empty_like(input, memory_format=torch.contiguous_format)


@torch.library.register_fake('mmdetlike_ops::sigmoid_focal_loss_backward')
def _fake_backward(grad, input, target, gamma, alpha):
    return torch.empty_like(input, memory_format=torch.contiguous_format)


def _setup_context(ctx, inputs, output):
    input, target, ctx.gamma, ctx.alpha = inputs
    ctx.save_for_backward(input, target)


def _backward(ctx, grad):
    input, target = ctx.saved_tensors
    return kernels.sigmoid_focal_loss_backward(grad, input, target, ctx.gamma, ctx.alpha), None, None, None


torch.library.register_autograd('mmdetlike_ops::sigmoid_focal_loss', _backward, setup_context=_setup_context)


def sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Sigmoid focal loss (Focal Loss for Dense Object Detection, arXiv 1708.02002).

    With p = sigmoid(input), the target class of a row costs -alpha (1 - p)^gamma log(p), every other class
    -(1 - alpha) p^gamma log(1 - p); stable for logits of any size.

    Args:
        input: (n, c) logits.
        target: (n,) class indices, int64; c (or anything outside 0..c-1) is background.
        gamma: How much easy examples lose weight; not negative.
        alpha: Weight of positives against negatives.
        weight: (c,) factor of a row by its target class; a background row counts 1.
        reduction: 'none', 'sum', or 'mean': the sum over the number of rows.

    Returns:
        (n, c) for 'none', else a scalar.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    _check(input, target, gamma, reduction)
    loss = kernels.sigmoid_focal_loss(input, target, float(gamma), float(alpha))
    if weight is not None:
        check_vector('sigmoid_focal_loss', 'weight', weight, input.shape[1])
        background = (target < 0) | (target >= input.shape[1])
        factors = torch.cat([weight, weight.new_ones(1)])[torch.where(background, input.shape[1], target)]
        loss = loss * factors[:, None]
    if reduction == 'none':
        return loss
    return loss.sum() if reduction == 'sum' else loss.sum() / max(input.shape[0], 1)


def _check(input: Tensor, target: Tensor, gamma: float, reduction: str) -> None:
    check_floating('sigmoid_focal_loss', 'input', input)
    if input.dim() != 2:
        raise ValueError(f'sigmoid_focal_loss: input has shape {tuple(input.shape)}, (n, c) is expected')
    check_vector('sigmoid_focal_loss', 'target', target, input.shape[0])
    check_device('sigmoid_focal_loss', 'target', target, input.device)
    if target.dtype != torch.int64:
        raise TypeError(f'sigmoid_focal_loss: target has dtype {target.dtype}, torch.int64 is expected')
    if gamma < 0:
        raise ValueError(f'sigmoid_focal_loss: gamma is {gamma}, a number from 0 on is expected')
    check_choice('sigmoid_focal_loss', 'reduction', reduction, _REDUCTIONS)


class SigmoidFocalLoss(nn.Module):
    """`sigmoid_focal_loss` as a module; its arguments are those of the function."""

    def __init__(self, gamma: float, alpha: float, weight: Tensor | None = None, reduction: str = 'mean'):
        super().__init__()
        check_choice('SigmoidFocalLoss', 'reduction', reduction, _REDUCTIONS)
        self.gamma = gamma
        self.alpha = alpha
        self.register_buffer('weight', weight, persistent=weight is not None)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (n, c) against class indices (n,)."""
        return sigmoid_focal_loss(input, target, self.gamma, self.alpha, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, alpha={self.alpha}, reduction={self.reduction!r}'
