"""Focal loss of classes (Focal Loss for Dense Object Detection, arXiv 1708.02002), and of heat maps (CornerNet)."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike_ops import sigmoid_focal_loss

from .cross_entropy_loss import one_hot_labels
from .reduction import Loss, SigmoidLoss

# keeps the logarithm of a saturated probability finite
_EPS = 1e-12


@MODELS.register_module()
class FocalLoss(SigmoidLoss):
    """Focal loss of class logits (arXiv 1708.02002).

    ``pred`` is (n, c); ``target`` holds class indices (n,), where one outside [0, c) means background, or targets in
    [0, 1] of shape (n, c); ``weight`` is (n,) or (n, c).

    Args:
        gamma: Exponent of the modulating factor.
        alpha: Weight of positives; negatives have ``1 - alpha``.
        use_sigmoid, activated, reduction, loss_weight, class_weight: As of ``SigmoidLoss``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(use_sigmoid, activated, reduction, loss_weight, class_weight)
        self.gamma, self.alpha = gamma, alpha

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        if target.dim() != pred.dim():
            # the fused kernel takes class indices, so that no one-hot targets (n, c) are made and kept for backward
            if pred.dim() == 2 and not self.activated:
                loss = sigmoid_focal_loss(pred, target.long(), gamma=self.gamma, alpha=self.alpha, reduction='none')
                if self.class_weight is None:
                    return loss
                return self.weigh_positives(loss, one_hot_labels(target, pred.shape[1]))
            target = one_hot_labels(target, pred.shape[1])
        target = target.to(pred.dtype)
        entropy, probability = self.entropy_and_probability(pred, target)
        # 1 - p_t and alpha_t of equations 4 and 5 in the paper, interpolated for soft targets
        one_minus_p_t = (1 - probability) * target + probability * (1 - target)
        alpha_t = self.alpha * target + (1 - self.alpha) * (1 - target)
        return self.weigh_positives(entropy * alpha_t * one_minus_p_t.pow(self.gamma), target > 0)


@MODELS.register_module()
class GaussianFocalLoss(Loss):
    """Focal loss of heat maps, whose negatives count less the nearer they are to a peak (CornerNet, arXiv 1808.01244).

    ``pred`` holds probabilities, ``target`` a heat map of their shape; positives are exactly 1.

    Args:
        alpha: Exponent of the modulating factor.
        gamma: Exponent of the weight ``1 - target`` of negatives.
        pos_weight, neg_weight: Factors of positives and of negatives.
        ignore_high_fp: Negatives whose probability is above this don't count: they may be objects without annotation.
        reduction, loss_weight: As of ``Loss``.
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
        self.alpha, self.gamma, self.pos_weight, self.neg_weight = alpha, gamma, pos_weight, neg_weight
        self.ignore_high_fp = ignore_high_fp

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        *,
        pos_inds: Tensor | None = None,
        pos_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted and reduced loss; with ``pos_inds`` its sum, by ``avg_factor`` if that is given.

        Args:
            pred, target: Probabilities and the heat map; (n, C) with ``pos_inds``.
            weight, reduction_override: As of ``Loss.forward``; they have no effect beside ``pos_inds``.
            avg_factor: As of ``Loss.forward``.
            pos_inds, pos_labels: (p,) rows and columns of the positives, which may be any elements, also several times;
                all elements count as negatives beside them.
        """
        if pos_inds is None:
            return super().forward(pred, target, weight, avg_factor, reduction_override)
        pred, target = float32_if_half(pred, target)
        positive = self.positives(pred[pos_inds, pos_labels]).sum()
        negative = self.negatives(pred, target).sum()
        loss = self.loss_weight * (self.pos_weight * positive + self.neg_weight * negative)
        return loss if avg_factor is None else loss / avg_factor

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        pred, target = float32_if_half(pred, target)
        # equation 1 of the paper; there a value below 1 is the less wrong as a peak, the nearer it is to one
        positive = self.positives(pred) * (target == 1)
        return self.pos_weight * positive + self.neg_weight * self.negatives(pred, target)

    def positives(self, pred: Tensor) -> Tensor:
        """Return the loss per element of probabilities that should be 1."""
        return -(pred + _EPS).log() * (1 - pred).pow(self.alpha)

    def negatives(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss per element of probabilities that should be 0, the less the nearer ``target`` is to 1."""
        loss = -(1 - pred + _EPS).log() * pred.pow(self.alpha) * (1 - target).pow(self.gamma)
        return loss if self.ignore_high_fp >= 1 else loss * (pred <= self.ignore_high_fp)
