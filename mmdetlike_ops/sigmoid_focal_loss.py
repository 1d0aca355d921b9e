"""Sigmoid focal losses of logits against class indices or binary targets."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_choice, check_device, check_floating, check_vector
from ._library import kernels, register_backward

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


register_backward('sigmoid_focal_loss', _backward, _setup_context)


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
        input: (n, c) logits; of any shape where targets are binary.
        target: (n,) class indices, int64; c (or anything outside 0..c-1) is background. Or binary targets of the shape
            of `input`, of a floating dtype; they may lie between 0 and 1.
        gamma: How much easy examples lose weight; not negative.
        alpha: Weight of positives against negatives; a negative number weights neither.
        weight: (c,) factor of a row by its target class; a background row counts 1. Not with binary targets.
        reduction: 'none', 'sum', or 'mean': the sum over the number of rows, over that of elements where targets are
            binary.

    Returns:
        The shape of `input` for 'none', else a scalar.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    if _are_binary(input, target):
        return _binary_focal_loss(input, target, gamma, alpha, weight, reduction)
    check_focal('sigmoid_focal_loss', input, target, gamma, reduction)
    if alpha < 0:  # the kernel knows only alpha and 1 - alpha: two equal halves make a whole
        return 2 * sigmoid_focal_loss(input, target, gamma, 0.5, weight, reduction)
    loss = kernels.sigmoid_focal_loss(input, target, float(gamma), float(alpha))
    if weight is not None:
        loss = loss * weight_of_rows('sigmoid_focal_loss', weight, target, input.shape[1])[:, None]
    return reduce_rows(loss, reduction)


def _are_binary(input: Tensor, target: Tensor) -> bool:
    tensors = isinstance(input, Tensor) and isinstance(target, Tensor)
    return tensors and target.is_floating_point() and target.shape == input.shape


def _binary_focal_loss(input, target, gamma, alpha, weight, reduction):
    op = 'sigmoid_focal_loss'
    check_binary(op, input, target, gamma, reduction)
    if weight is not None:
        raise ValueError(f'{op}: weight is given with binary targets, factors of classes need class indices')
    # the probability of the other label: what makes an example hard
    error = torch.sigmoid(input) * (1 - target) + torch.sigmoid(-input) * target
    loss = F.binary_cross_entropy_with_logits(input, target, reduction='none') * error**gamma
    if alpha >= 0:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return reduce_elements(loss, reduction)


def sigmoid_focal_loss_star(
    input: Tensor, target: Tensor, gamma: float = 1.0, alpha: float = -1.0, reduction: str = 'none'
) -> Tensor:
    """Sigmoid focal loss star (the appendix of Focal Loss for Dense Object Detection, arXiv 1708.02002).

    With x_t = input where the target is 1 and -input where it is 0, an element costs -log(sigmoid(gamma x_t)) / gamma.

    Args:
        input: Logits of any shape.
        target: Binary targets of the same shape, of a floating dtype.
        gamma: Steepness; positive.
        alpha: Weight of positives against negatives; a negative number weights neither.
        reduction: 'none', 'sum', or 'mean' over all elements.

    Returns:
        The shape of `input` for 'none', else a scalar.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    op = 'sigmoid_focal_loss_star'
    check_binary(op, input, target, gamma, reduction)
    if gamma == 0:
        raise ValueError(f'{op}: gamma is 0, a positive number is expected')
    signed = input * (2 * target - 1)
    loss = -F.logsigmoid(gamma * signed) / gamma
    if alpha >= 0:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return reduce_elements(loss, reduction)


def check_binary(op: str, input: Tensor, target: Tensor, gamma: float, reduction: str) -> None:
    """Raise unless `input` are logits, `target` floating numbers of the same shape, and the settings are valid."""
    check_floating(op, 'input', input)
    check_floating(op, 'target', target)
    if target.shape != input.shape:
        shapes = f'{tuple(input.shape)} and {tuple(target.shape)}'
        raise ValueError(f'{op}: input and target have the shapes {shapes}, twice the same is expected')
    check_device(op, 'target', target, input.device)
    if gamma < 0:
        raise ValueError(f'{op}: gamma is {gamma}, a number from 0 on is expected')
    check_choice(op, 'reduction', reduction, _REDUCTIONS)


def check_focal(op: str, input: Tensor, target: Tensor, gamma: float, reduction: str) -> None:
    """Raise unless `input` is (n, c) logits, `target` (n,) class indices, and the settings are valid."""
    check_floating(op, 'input', input)
    if input.dim() != 2:
        raise ValueError(f'{op}: input has shape {tuple(input.shape)}, (n, c) is expected')
    check_vector(op, 'target', target, input.shape[0])
    check_device(op, 'target', target, input.device)
    if target.dtype != torch.int64:
        raise TypeError(f'{op}: target has dtype {target.dtype}, torch.int64 is expected')
    if gamma < 0:
        raise ValueError(f'{op}: gamma is {gamma}, a number from 0 on is expected')
    check_choice(op, 'reduction', reduction, _REDUCTIONS)


def weight_of_rows(op: str, weight: Tensor, target: Tensor, classes: int) -> Tensor:
    """(n,) factors of rows by their target class, from (classes,) `weight`; 1 for a target that is no class."""
    check_vector(op, 'weight', weight, classes)
    background = (target < 0) | (target >= classes)
    return torch.cat([weight, weight.new_ones(1)])[torch.where(background, classes, target)]


def reduce_rows(loss: Tensor, reduction: str) -> Tensor:
    """`loss` itself for 'none', its sum, or its sum over the number of its rows for 'mean'."""
    if reduction == 'none':
        return loss
    return loss.sum() if reduction == 'sum' else loss.sum() / max(loss.shape[0], 1)


def reduce_elements(loss: Tensor, reduction: str) -> Tensor:
    """`loss` itself for 'none', its sum, or its mean over all elements, 0 where there are none."""
    if reduction == 'none':
        return loss
    return loss.sum() if reduction == 'sum' else loss.sum() / max(loss.numel(), 1)


class FocalLoss(nn.Module):
    """The settings of a focal loss.

    Args:
        gamma: How much easy examples lose weight; not negative.
        alpha: Weight of the loss, or of positives where there are negatives.
        weight: (c,) factor of a row by its target class.
        reduction: 'none', 'mean' or 'sum'.
    """

    def __init__(self, gamma: float, alpha: float, weight: Tensor | None = None, reduction: str = 'mean'):
        super().__init__()
        check_choice(type(self).__name__, 'reduction', reduction, _REDUCTIONS)
        self.gamma = gamma
        self.alpha = alpha
        self.register_buffer('weight', weight, persistent=weight is not None)
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, alpha={self.alpha}, reduction={self.reduction!r}'


class SigmoidFocalLoss(FocalLoss):
    """`sigmoid_focal_loss` as a module; its arguments are those of the function."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (n, c) against class indices (n,)."""
        return sigmoid_focal_loss(input, target, self.gamma, self.alpha, self.weight, self.reduction)
