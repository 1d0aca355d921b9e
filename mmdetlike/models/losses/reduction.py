"""Weighting and reduction, which every loss shares."""

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REDUCTIONS = ('none', 'mean', 'sum')
# added to the number of positives that a loss is divided by, which may be 0
EPS = torch.finfo(torch.float32).eps


def check_reduction(reduction: str) -> str:
    """Return ``reduction``; raise ``ValueError`` if it is none of ``none``, ``mean`` and ``sum``."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be one of {", ".join(map(repr, REDUCTIONS))}, but got {reduction!r}.')
    return reduction


def weight_reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = 'mean', avg_factor: float | Tensor | None = None
) -> Tensor:
    """Weight a loss per element and reduce it.

    Args:
        loss: Loss per element, (n, ...).
        weight: Of the shape of ``loss``, or of its first dimensions: (n,) weighs the rows of (n, c).
        reduction: ``none``, ``mean`` or ``sum``.
        avg_factor: What ``mean`` divides the sum by, instead of the number of elements.

    Returns:
        The loss: of the shape of ``loss`` for ``none``, else a scalar. The mean of an empty loss is 0.

    Raises:
        ValueError: ``avg_factor`` was given with ``sum``, ``reduction`` is unknown, or the weight doesn't fit.
    """
    check_reduction(reduction)
    if weight is not None:
        loss = loss * _aligned(weight, loss)
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise ValueError(f"avg_factor={avg_factor} cannot be used with reduction='sum'; use 'mean' or 'none'.")
        return loss.sum()
    if avg_factor is not None:
        return loss.sum() / (avg_factor + EPS)
    # the mean of no elements is NaN; their sum is a 0 that has a gradient, which DistributedDataParallel waits for
    return loss.mean() if loss.numel() else loss.sum()


def _aligned(weight: Tensor, loss: Tensor) -> Tensor:
    fits = weight.dim() <= loss.dim() and all(w in (1, n) for w, n in zip(weight.shape, loss.shape))
    if not fits:
        raise ValueError(f'A weight of shape {tuple(weight.shape)} does not fit a loss of shape {tuple(loss.shape)}.')
    # by hand: broadcasting aligns the last dimensions, but weights belong to the first ones
    return weight.reshape(weight.shape + (1,) * (loss.dim() - weight.dim()))


def weighted_loss(elementwise: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give a function ``elementwise(pred, target, ...)`` the arguments ``weight``, ``reduction`` and ``avg_factor``.

    For losses of your own; those here are modules on ``Loss``.
    """

    @functools.wraps(elementwise)
    def wrapper(
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: float | Tensor | None = None,
        **options,
    ) -> Tensor:
        return weight_reduce_loss(elementwise(pred, target, **options), weight, reduction, avg_factor)

    return wrapper


class Loss(nn.Module):
    """Base of the losses: weights and reduces what a subclass computes for each element in ``compute``.

    Args:
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
    """

    # Whether targets are ``(label, quality)``, where quality is how well the predicted box fits. Heads ask, since only
    # some losses need it and it takes an IoU of all positives.
    takes_quality = False

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)
        self.loss_weight = loss_weight

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, neither weighted nor reduced."""
        raise NotImplementedError(f'{type(self).__name__} must define compute().')

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the weighted and reduced loss.

        Args:
            pred, target: As ``compute`` takes them.
            weight, avg_factor: As of ``weight_reduce_loss``.
            reduction_override: Reduction of this call.
        """
        return self.reduce(self.compute(pred, target), weight, avg_factor, reduction_override)

    def reduce(
        self,
        loss: Tensor,
        weight: Tensor | None,
        avg_factor: float | Tensor | None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Weight and reduce a loss per element, by the settings unless the call says otherwise."""
        reduction = reduction_override or self.reduction
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction, avg_factor)

    def register_class_weight(self, class_weight: Sequence[float] | None) -> None:
        """Keep the weight of each class as the buffer ``class_weight``."""
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        # a buffer moves to the device with the loss; checkpoints don't have it
        self.register_buffer('class_weight', weights, persistent=False)

    def extra_repr(self) -> str:
        settings = {k: v for k, v in vars(self).items() if not k.startswith('_') and k != 'training'}
        return ', '.join(f'{k}={v!r}' for k, v in settings.items())


class SigmoidLoss(Loss):
    """Base of the losses that take classes for independent binary decisions.

    Args:
        use_sigmoid: Must be True, else a ``ValueError``.
        activated: Whether ``pred`` holds probabilities, not logits.
        reduction, loss_weight: As of ``Loss``.
        class_weight: Weight of the positives of each class; negatives count as they are.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activated: bool = False,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError(f'{type(self).__name__} is defined for sigmoid only: use_sigmoid must be True.')
        self.use_sigmoid, self.activated = use_sigmoid, activated
        self.register_class_weight(class_weight)

    def weigh_positives(self, loss: Tensor, is_positive: Tensor) -> Tensor:
        """The loss (n, c, ...) of each element and class, times ``class_weight`` where ``is_positive``."""
        if self.class_weight is None:
            return loss
        weights = self.class_weight.to(loss.dtype).view(-1, *[1] * (loss.dim() - 2))
        return loss * torch.where(is_positive, weights, 1)

    def entropy_and_probability(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Binary cross entropy and probability of each element of ``pred``, for targets in [0, 1] of its shape."""
        if self.activated:
            return F.binary_cross_entropy(pred, target, reduction='none'), pred
        return F.binary_cross_entropy_with_logits(pred, target, reduction='none'), pred.sigmoid()
