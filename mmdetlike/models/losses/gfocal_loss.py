"""Losses of a class score that is the quality of the box, and of distances as distributions.

Generalized Focal Loss, arXiv 2006.04388, and VarifocalNet, arXiv 2008.13367.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import MODELS

from .cross_entropy_loss import one_hot_labels
from .reduction import Loss, SigmoidLoss


@MODELS.register_module()
class QualityFocalLoss(SigmoidLoss):
    """Cross entropy with a quality as soft label, weighted by ``|quality - probability| ** beta`` (arXiv 2006.04388).

    ``pred`` is (n, c); ``target`` is ``(label, quality)``, both (n,), where a label outside [0, c) means background,
    or the quality of every class, (n, c); ``weight`` is (n,).

    Args:
        beta: Exponent of the modulating factor.
        use_sigmoid, activated, reduction, loss_weight, class_weight: As of ``SigmoidLoss``.
    """

    takes_quality = True

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(use_sigmoid, activated, reduction, loss_weight, class_weight)
        self.beta = beta

    def compute(self, pred: Tensor, target: tuple[Tensor, Tensor] | Tensor) -> Tensor:
        """Return the sum over the classes, (n,)."""
        if not isinstance(target, Tensor):
            label, quality = target
            target = one_hot_labels(label, pred.shape[1]) * quality.unsqueeze(1)
        target = target.to(pred.dtype)
        entropy, probability = self.entropy_and_probability(pred, target)
        # QFL of the paper; for background, of quality 0, it is the focal loss without alpha
        loss = entropy * (target - probability).abs().pow(self.beta)
        return self.weigh_positives(loss, target > 0).sum(dim=1)


@MODELS.register_module()
class DistributionFocalLoss(Loss):
    """Cross entropy of the two integers beside a continuous target, weighted by its nearness (arXiv 2006.04388).

    ``pred`` holds logits of the integers 0 ... m, (n, m + 1), ``target`` distances (n,) in [0, m].
    """

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (n,)."""
        # DFL of the paper; the last integer has none above it, so a target of m lies right of m - 1
        left = target.long().clamp(min=0, max=pred.shape[1] - 2)
        right_share = target - left
        nll = -pred.log_softmax(dim=1)
        around = nll.gather(1, torch.stack([left, left + 1], dim=1))
        return around[:, 0] * (1 - right_share) + around[:, 1] * right_share


@MODELS.register_module()
class VarifocalLoss(SigmoidLoss):
    """Cross entropy with the IoU as soft label, where only negatives are down-weighted by their probability.

    ``pred`` is (n, c), ``target`` the IoU of positives and 0 of negatives, (n, c) (VarifocalNet, arXiv 2008.13367).

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
