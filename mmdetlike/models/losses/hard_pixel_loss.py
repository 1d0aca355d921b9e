"""Cross entropy of the hardest pixels of label maps."""

import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss


@MODELS.register_module()
class HardPixelLoss(Loss):
    """Cross entropy of the share of pixels that have most of it (DeeperLab, arXiv 1902.05093; "DeepLabCE" elsewhere).

    ``pred`` has logits (B, c, h, w), ``target`` the class (B, h, w) of each pixel. Weights multiply a pixel's loss
    before the hardest are chosen.

    Args:
        kept_share: Share of a batch's pixels, those without a class included, that count; a ``ValueError`` unless it is
            above 0 and at most 1, for all.
        ignore_index: The number of pixels without a class, which have no loss.
        reduction, loss_weight: As of ``Loss``; ``mean`` is over the pixels that count.
    """

    def __init__(
        self,
        kept_share: float = 0.2,
        ignore_index: int = 255,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not 0 < kept_share <= 1:
            raise ValueError(f'HardPixelLoss: kept_share={kept_share} should be above 0 and at most 1.')
        self.kept_share, self.ignore_index = kept_share, ignore_index

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pixel (B, h, w)."""
        return F.cross_entropy(pred, target, ignore_index=self.ignore_index, reduction='none')

    def reduce(self, loss: Tensor, weight: Tensor | None, *settings) -> Tensor:
        """As ``Loss.reduce``, of the hardest pixels alone."""
        if weight is not None:
            loss = loss * weight
        count = max(int(self.kept_share * loss.numel()), 1)
        hardest = loss.flatten().topk(count).values if count < loss.numel() else loss
        return super().reduce(hardest, None, *settings)
