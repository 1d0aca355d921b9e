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
    """

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha, self.gamma, self.pos_weight, self.neg_weight = alpha, gamma, pos_weight, neg_weight

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        pred, target = float32_if_half(pred, target)
        # equation 1 of the paper; there a value below 1 is the less wrong as a peak, the nearer it is to one
        positive = -(pred + _EPS).log() * (1 - pred).pow(self.alpha) * (target == 1)
        negative = -(1 - pred + _EPS).log() * pred.pow(self.alpha) * (1 - target).pow(self.gamma)
        return self.pos_weight * positive + self.neg_weight * negative
