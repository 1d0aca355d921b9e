"""Varifocal loss (VarifocalNet, arXiv 2008.13367)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import SigmoidLoss


@MODELS.register_module()
class VarifocalLoss(SigmoidLoss):
    """Cross entropy with the IoU as soft label, where only negatives are down-weighted by their probability.

    ``pred`` is (n, c), ``target`` the IoU of positives and 0 of negatives, (n, c) (arXiv 2008.13367).

    Args:
        alpha: Weight of negatives; a ``ValueError`` if negative.
        gamma: Exponent of the modulating factor of negatives.
        iou_weighted: Whether positives are weighted by their IoU.
        use_sigmoid, reduction, loss_weight, activated, class_weight: As of ``SigmoidLoss``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(use_sigmoid, activated, reduction, loss_weight, class_weight)
        if alpha < 0:
            raise ValueError(f'VarifocalLoss needs alpha >= 0, but got {alpha}.')
        self.alpha, self.gamma, self.iou_weighted = alpha, gamma, iou_weighted

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        target = target.to(pred.dtype)
        entropy, probability = self.entropy_and_probability(pred, target)
        of_positive = target if self.iou_weighted else 1.0
        # of negatives the target is 0, and this is their probability; positives aren't down-weighted: they are rare
        of_negative = self.alpha * (probability - target).abs().pow(self.gamma)
        return self.weigh_positives(entropy * torch.where(target > 0, of_positive, of_negative), target > 0)
