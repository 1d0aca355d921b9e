"""Focal loss of Gaussian heat maps (CornerNet, arXiv 1808.01244)."""

from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss, float32_if_half, weight_reduce_loss, weighted_loss

_EPS = 1e-12


def _positive_term(probability: Tensor, alpha: float) -> Tensor:
    return -(probability + _EPS).log() * (1 - probability).pow(alpha)


def _negative_term(probability: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    return -(1 - probability + _EPS).log() * probability.pow(alpha) * (1 - target).pow(gamma)


@weighted_loss
def gaussian_focal_loss(
    pred: Tensor,
    target: Tensor,
    alpha: float = 2.0,
    gamma: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
) -> Tensor:
    """Focal loss whose negatives count less the nearer they are to a peak.

    Args:
        pred: Probabilities, any shape.
        target: Heat map of the same shape; positives are exactly 1.
        alpha: Exponent of the modulating factor.
        gamma: Exponent of the weight ``1 - target`` of negatives.
        pos_weight: Factor of positives.
        neg_weight: Factor of negatives.

    Returns:
        Of the shape of ``pred``.
    """
    pred, target = float32_if_half(pred, target)
    positive = _positive_term(pred, alpha) * (target == 1)
    return pos_weight * positive + neg_weight * _negative_term(pred, target, alpha, gamma)


@MODELS.register_module()
class GaussianFocalLoss(Loss):
    """Focal loss of Gaussian heat maps (CornerNet, arXiv 1808.01244).

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
        self.alpha = alpha
        self.gamma = gamma
        self.pos_weight = pos_weight
        self.neg_weight = neg_weight

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element, of the shape of ``pred``."""
        return gaussian_focal_loss.__wrapped__(pred, target, self.alpha, self.gamma, self.pos_weight, self.neg_weight)

    def at_positions(
        self,
        pred: Tensor,
        target: Tensor,
        pos_inds: Tensor,
        pos_labels: Tensor,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Return the loss with positives given by index (CenterNet2, arXiv 2103.07461).

        A pixel may be the positive of several objects, and is a negative as well, by its target.

        Args:
            pred: Probabilities (n, c).
            target: Heat map (n, c).
            pos_inds: Row of each positive, (p,).
            pos_labels: Class of each positive, (p,).
            avg_factor: What ``mean`` divides both sums by.
        """
        pred, target = float32_if_half(pred, target)
        positive = _positive_term(pred[pos_inds, pos_labels], self.alpha)
        negative = _negative_term(pred, target, self.alpha, self.gamma)
        reduced = [weight_reduce_loss(term, None, self.reduction, avg_factor) for term in (positive, negative)]
        return self.loss_weight * (self.pos_weight * reduced[0] + self.neg_weight * reduced[1])
