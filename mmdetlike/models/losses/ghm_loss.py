"""Gradient harmonised losses (Gradient Harmonized Single-stage Detector, arXiv 1811.05181)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .cross_entropy_loss import one_hot_labels
from .reduction import check_reduction, weight_reduce_loss


class GradientDensity(nn.Module):
    """Weights that give each range of gradient norms, however many elements fall into it, the same sum.

    Buffers ``edges`` (bins + 1,) and, with momentum, ``acc_sum`` (bins,) have the names that checkpoints give them.

    Args:
        bins: Number of ranges that [0, 1] is divided into.
        momentum: Of the moving average of the elements of a range; 0 counts those of the batch only.
        last_edge: Upper end of the last range.
    """

    def __init__(self, bins: int, momentum: float, last_edge: float) -> None:
        super().__init__()
        if bins < 1:
            raise ValueError(f'bins must be at least 1, but got {bins}.')
        self.bins, self.momentum = bins, momentum
        edges = torch.arange(bins + 1).float() / bins
        edges[-1] = last_edge
        self.register_buffer('edges', edges)
        if momentum > 0:
            self.register_buffer('acc_sum', torch.zeros(bins))

    @torch.no_grad()
    def density_weight(self, gradient: Tensor, label_weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weigh elements by the density of gradients around theirs.

        Args:
            gradient: Norm of each element's gradient, not negative.
            label_weight: Of that shape; elements of weight 0 don't count and get 0. None counts all.

        Returns:
            Weights of that shape and the number of elements that count, at least 1.
        """
        valid = torch.ones_like(gradient, dtype=torch.bool) if label_weight is None else label_weight > 0
        total = valid.sum().clamp(min=1).float()
        bin_of = torch.bucketize(gradient.float(), self.edges[1:-1].float(), right=True)
        counts = torch.bincount(bin_of[valid], minlength=self.bins).float()
        filled = counts > 0
        if self.momentum > 0:
            average = self.momentum * self.acc_sum + (1 - self.momentum) * counts
            self.acc_sum.copy_(torch.where(filled, average, self.acc_sum))
            counts = self.acc_sum
        per_bin = torch.where(filled, total / counts.clamp(min=1e-12), 0) / filled.sum().clamp(min=1)
        return per_bin[bin_of] * valid, total


@MODELS.register_module()
class GHMC(GradientDensity):
    """Gradient harmonised sigmoid cross entropy (arXiv 1811.05181).

    Args:
        bins: Number of ranges of gradient norms.
        momentum: Of the moving average of the elements of a range; 0 counts those of the batch only.
        use_sigmoid: Whether classes are independent binary decisions; only True is supported.
        loss_weight: Factor of the result.
        reduction: ``none``, ``mean`` or ``sum``.

    Raises:
        ValueError: ``use_sigmoid`` is False, or ``bins`` less than 1.
    """

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(bins, momentum, last_edge=1 + 1e-6)
        if not use_sigmoid:
            raise ValueError('GHMC is defined for sigmoid only: use_sigmoid must be True.')
        self.use_sigmoid, self.loss_weight, self.reduction = use_sigmoid, loss_weight, check_reduction(reduction)

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
            pred: Logits (n, c).
            target: Class indices (n,), where c means background, or targets in [0, 1], (n, c).
            label_weight: (n,) or (n, c); elements of weight 0 don't count. None counts all.
            avg_factor: Of no effect: the mean is over the elements that count.
            reduction_override: Reduction of this call.
        """
        if target.dim() != pred.dim():
            target = one_hot_labels(target, pred.shape[1])
        if label_weight is not None and label_weight.dim() != pred.dim():
            label_weight = label_weight[:, None].expand_as(pred)
        target = target.to(pred.dtype)
        weight, total = self.density_weight((pred.detach().sigmoid() - target).abs(), label_weight)
        loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
        return self.loss_weight * _reduced(loss, weight, reduction_override or self.reduction, total)


@MODELS.register_module()
class GHMR(GradientDensity):
    """Gradient harmonised smooth L1 loss, ``sqrt(difference ** 2 + mu ** 2) - mu`` (arXiv 1811.05181).

    Args:
        mu: Where the loss turns from a square into a line.
        bins: Number of ranges of gradient norms.
        momentum: Of the moving average of the elements of a range; 0 counts those of the batch only.
        loss_weight: Factor of the result.
        reduction: ``none``, ``mean`` or ``sum``.

    Raises:
        ValueError: ``bins`` is less than 1.
    """

    def __init__(
        self, mu: float = 0.02, bins: int = 10, momentum: float = 0, loss_weight: float = 1.0, reduction: str = 'mean'
    ) -> None:
        super().__init__(bins, momentum, last_edge=1e3)
        self.mu, self.loss_weight, self.reduction = mu, loss_weight, check_reduction(reduction)

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
            pred: (n, 4).
            target: (n, 4).
            label_weight: (n, 4); elements of weight 0 don't count. None counts all.
            avg_factor: Of no effect: the mean is over the elements that count.
            reduction_override: Reduction of this call.
        """
        difference = pred - target
        length = (difference.square() + self.mu * self.mu).sqrt()
        weight, total = self.density_weight((difference / length).detach().abs(), label_weight)
        return self.loss_weight * _reduced(length - self.mu, weight, reduction_override or self.reduction, total)


def _reduced(loss: Tensor, weight: Tensor, reduction: str, total: Tensor) -> Tensor:
    return weight_reduce_loss(loss, weight, reduction, total if reduction == 'mean' else None)
