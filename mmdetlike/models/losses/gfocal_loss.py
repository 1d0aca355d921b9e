"""Generalized Focal Loss: quality focal loss and distribution focal loss (arXiv 2006.04388)."""

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
