"""Gradient harmonized losses (Gradient Harmonized Single-stage Detector, arXiv 1811.05181)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .cross_entropy_loss import one_hot_labels
from .reduction import Loss


class GradientHarmonizedLoss(Loss):
    """Base: each range of gradient norms, however many elements fall into it, has the same share of the loss.

    Buffers ``edges`` (bins + 1,) and, with momentum, ``acc_sum`` (bins,) have the names that checkpoints give them.

    Args:
        bins: Number of ranges that [0, 1] is divided into; a ``ValueError`` if less than 1.
        momentum: Of the moving average of the elements of a range; 0 counts those of the batch only.
        reduction, loss_weight: As of ``Loss``.
    """

    # upper end of the last range, beyond the largest gradient norm
    last_edge: float

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if bins < 1:
            raise ValueError(f'bins must be at least 1, but got {bins}.')
        self.bins, self.momentum = bins, momentum
        edges = torch.arange(bins + 1).float() / bins
        edges[-1] = self.last_edge
        self.register_buffer('edges', edges)
        if momentum > 0:
            self.register_buffer('acc_sum', torch.zeros(bins))

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        label_weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the weighted and reduced loss.

        Args:
            pred, target: As ``loss_and_gradient`` takes them, ``pred`` (n, c).
            label_weight: (n,) or (n, c); elements of weight 0 don't count. None counts all.
            avg_factor: Of no effect: the mean is over the elements that count.
            reduction_override: Reduction of this call.
        """
        if label_weight is not None and label_weight.dim() != pred.dim():
            label_weight = label_weight[:, None].expand_as(pred)
        loss, gradient = self.loss_and_gradient(pred, target)
        weight, total = self.density_weight(gradient.detach(), label_weight)
        is_mean = (reduction_override or self.reduction) == 'mean'
        return self.reduce(loss, weight, total if is_mean else None, reduction_override)

    def loss_and_gradient(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each element and the norm of its gradient, (n, c)."""
        raise NotImplementedError

    @torch.no_grad()
    def density_weight(self, gradient: Tensor, label_weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights of elements by the density of gradient norms around theirs, and how many count, at least 1."""
        valid = torch.ones_like(gradient, dtype=torch.bool) if label_weight is None else label_weight > 0
        total = valid.sum().clamp(min=1).float()
        # ranges hold their lower edges: ``edges[i] <= gradient < edges[i + 1]``
        bin_of = torch.bucketize(gradient.float(), self.edges[1:-1].float(), right=True)
        counts = torch.bincount(bin_of[valid], minlength=self.bins).float()
        filled = counts > 0
        if self.momentum > 0:
            # ranges that are empty in this batch keep their average: an average with 0 would inflate their weight later
            average = self.momentum * self.acc_sum + (1 - self.momentum) * counts
            self.acc_sum.copy_(torch.where(filled, average, self.acc_sum))
            counts = self.acc_sum
        # An element weighs one over the density around it. As in the authors' code, the density is relative to the
        # ranges that hold something, not to all: the mean weight of the elements is then 1.
        per_bin = torch.where(filled, total / counts.clamp(min=1e-12), 0) / filled.sum().clamp(min=1)
        return per_bin[bin_of] * valid, total


@MODELS.register_module()
class GHMC(GradientHarmonizedLoss):
    """Gradient harmonized sigmoid cross entropy (arXiv 1811.05181).

    Args:
        use_sigmoid: Must be True, else a ``ValueError``.
        bins, momentum, loss_weight, reduction: As of ``GradientHarmonizedLoss``.
    """

    # a sigmoid that is wrong altogether has a gradient of exactly 1
    last_edge = 1 + 1e-6

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(bins, momentum, reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('GHMC is defined for sigmoid only: use_sigmoid must be True.')
        self.use_sigmoid = use_sigmoid

    def loss_and_gradient(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and gradient (n, c) of logits (n, c) for class indices (n,), c for background, or targets (n, c)."""
        if target.dim() != pred.dim():
            target = one_hot_labels(target, pred.shape[1])
        target = target.to(pred.dtype)
        loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
        return loss, (pred.sigmoid() - target).abs()


@MODELS.register_module()
class GHMR(GradientHarmonizedLoss):
    """Gradient harmonized smooth L1 loss, ``sqrt(difference ** 2 + mu ** 2) - mu`` (arXiv 1811.05181).

    Args:
        mu: Where the loss turns from a square into a line.
        bins, momentum, loss_weight, reduction: As of ``GradientHarmonizedLoss``.
    """

    last_edge = 1e3

    def __init__(
        self,
        mu: float = 0.02,
        bins: int = 10,
        momentum: float = 0,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(bins, momentum, reduction, loss_weight)
        self.mu = mu

    def loss_and_gradient(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and gradient (n, 4) of predictions (n, 4) for targets (n, 4)."""
        difference = pred - target
        length = (difference.square() + self.mu * self.mu).sqrt()
        return length - self.mu, (difference / length).abs()
