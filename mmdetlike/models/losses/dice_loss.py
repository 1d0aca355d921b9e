"""Dice loss (V-Net, arXiv 1606.04797)."""

from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss, float32_if_half, weighted_loss


@weighted_loss
def dice_loss(pred: Tensor, target: Tensor, eps: float = 1e-3, naive_dice: bool = False) -> Tensor:
    """``1 - 2 |pred * target| / (|pred| + |target|)`` of each row.

    Args:
        pred: Probabilities (n, ...).
        target: Targets in [0, 1] of the same shape.
        eps: Keeps the division finite.
        naive_dice: Whether the sizes in the denominator are sums, rather than sums of squares as in V-Net.

    Returns:
        (n,).
    """
    pred, target = float32_if_half(pred.flatten(1), target.flatten(1).to(pred.dtype))
    twice_overlap = 2 * (pred * target).sum(dim=1)
    if naive_dice:
        return 1 - (twice_overlap + eps) / (pred.sum(dim=1) + target.sum(dim=1) + eps)
    return 1 - twice_overlap / (pred.square().sum(dim=1) + target.square().sum(dim=1) + 2 * eps)


@MODELS.register_module()
class DiceLoss(Loss):
    """Dice loss (V-Net, arXiv 1606.04797) of masks (n, ...); ``weight`` is (n,).

    Args:
        use_sigmoid: How logits become probabilities; only True is supported.
        activate: Whether ``pred`` holds logits.
        reduction: ``none``, ``mean`` or ``sum``.
        naive_dice: Whether the sizes in the denominator are sums, rather than sums of squares as in V-Net.
        loss_weight: Factor of the result.
        eps: Keeps the division finite.

    Raises:
        ValueError: ``activate`` is true and ``use_sigmoid`` False.
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
        self.use_sigmoid = use_sigmoid
        self.activate = activate
        self.naive_dice = naive_dice
        self.eps = eps

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (n,)."""
        return dice_loss.__wrapped__(pred.sigmoid() if self.activate else pred, target, self.eps, self.naive_dice)
