"""Focal loss of Gaussian heat maps (CornerNet, arXiv 1808.01244)."""

from torch import Tensor

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

from .reduction import Loss

# keeps the logarithm of a saturated probability finite
_EPS = 1e-12


@MODELS.register_module()
class GaussianFocalLoss(Loss):
    """Focal loss of heat maps, whose negatives count less the nearer they are to a peak (CornerNet, arXiv 1808.01244).

    ``pred`` holds probabilities, ``target`` a heat map of their shape; positives are exactly 1.

    Args:
        alpha: Exponent of the modulating factor.
        gamma: Exponent of the weight ``1 - target`` of negatives.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
        pos_weight: Factor of positives.
        neg_weight: Factor of negatives.
        ignore_high_fp: Negatives whose probability is above this don't count: they may be objects without annotation.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
        ignore_high_fp: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.ignore_high_fp = ignore_high_fp
        self.alpha, self.gamma, self.pos_weight, self.neg_weight = alpha, gamma, pos_weight, neg_weight

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        pred, target = float32_if_half(pred, target)
        # equation 1 of the paper; there a value below 1 is the less wrong as a peak, the nearer it is to one
        positive = self.positives(pred) * (target == 1)
        return self.pos_weight * positive + self.neg_weight * self.negatives(pred, target)

    def compute_at(self, pred: Tensor, target: Tensor, pos_inds: tuple[Tensor, Tensor]) -> Tensor:
        """Return the sum over ``pred`` (n, C) as negatives and over its elements at the rows and columns ``pos_inds``.

        An element may be a positive several times, and none has to be 1 in ``target``.
        """
        pred, target = float32_if_half(pred, target)
        positive = self.positives(pred[pos_inds]).sum()
        negative = self.negatives(pred, target).sum()
        return self.loss_weight * (self.pos_weight * positive + self.neg_weight * negative)

    def positives(self, pred: Tensor) -> Tensor:
        """Return the loss per element of probabilities that should be 1."""
        return -(pred + _EPS).log() * (1 - pred).pow(self.alpha)

    def negatives(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element of probabilities that should be 0, the less the nearer ``target`` is to 1."""
        loss = -(1 - pred + _EPS).log() * pred.pow(self.alpha) * (1 - target).pow(self.gamma)
        return loss if self.ignore_high_fp >= 1 else loss * (pred <= self.ignore_high_fp)
