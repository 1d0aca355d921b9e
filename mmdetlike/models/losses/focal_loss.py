"""Focal loss (Focal Loss for Dense Object Detection, arXiv 1708.02002)."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike_ops import sigmoid_focal_loss

from .cross_entropy_loss import one_hot_labels
from .reduction import SigmoidLoss


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
