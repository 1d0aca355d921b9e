"""Dice loss (V-Net, arXiv 1606.04797)."""

from torch import Tensor

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

from .reduction import Loss


@MODELS.register_module()
class DiceLoss(Loss):
    """``1 - 2 |pred * target| / (|pred| + |target|)`` of masks (n, ...) (V-Net, arXiv 1606.04797); ``weight`` is (n,).

    Args:
        use_sigmoid: How logits become probabilities; a ``ValueError`` if False, unless ``activate`` is False too.
        activate: Whether ``pred`` holds logits.
        naive_dice: Whether the sizes in the denominator are sums, rather than sums of squares as in V-Net.
        eps: Keeps the division finite.
        reduction, loss_weight: As of ``Loss``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if activate and not use_sigmoid:
            raise ValueError('DiceLoss can activate by sigmoid only: use_sigmoid must be True, or activate False.')
        self.use_sigmoid, self.activate, self.naive_dice, self.eps = use_sigmoid, activate, naive_dice, eps

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (n,)."""
        pred, target = float32_if_half(pred.flatten(1), target.flatten(1).to(pred.dtype))
        pred = pred.sigmoid() if self.activate else pred
        twice_overlap = 2 * (pred * target).sum(dim=1)
        if self.naive_dice:
            # eps above and below: an empty prediction of an empty mask is right
            return 1 - (twice_overlap + self.eps) / (pred.sum(dim=1) + target.sum(dim=1) + self.eps)
        return 1 - twice_overlap / (pred.square().sum(dim=1) + target.square().sum(dim=1) + 2 * self.eps)
