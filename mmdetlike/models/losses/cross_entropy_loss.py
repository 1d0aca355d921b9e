"""Cross entropy of a softmax over classes, of a sigmoid for each class, of masks, and of the hardest pixels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .reduction import Loss


def one_hot_labels(label: Tensor, num_classes: int) -> Tensor:
    """Return a bool tensor (n, num_classes, ...) that is true at the class of each label (n, ...).

    A label outside ``[0, num_classes)``, which is how background and ignored elements are marked, has no true entry.
    """
    classes = torch.arange(num_classes, device=label.device)
    return label.unsqueeze(1) == classes.view(-1, *[1] * (label.dim() - 1))


def check_class_weight(loss: nn.Module, num_channels: int, head: str) -> None:
    """Raise ``ConfigError`` where a loss weighs another number of classes than ``head`` has logits for.

    torch would say so only at the first loss, and not what to change.
    """
    weights = getattr(loss, 'class_weight', None)
    if weights is not None and len(weights) != num_channels:
        classes = 'classes' if getattr(loss, 'use_sigmoid', False) else 'classes, the last of which is background'
        raise ConfigError(
            f'class_weight of loss_cls has {len(weights)} numbers, but {head} has {num_channels} {classes}'
        )


@MODELS.register_module()
class CrossEntropyLoss(Loss):
    """Cross entropy of class logits: of a softmax, of a sigmoid for each class, or of masks.

    Args:
        use_sigmoid: Whether classes are independent binary decisions; then a label of c, the number of classes, is
            background, negative ones have no loss, and ``class_weight`` counts for positives.
        use_mask: Whether predictions are masks per class, of which the one of each region's own class counts (Mask
            R-CNN, arXiv 1703.06870); the call then takes ``region_labels``. A ``ValueError`` if ``use_sigmoid``,
            ``ignore_index`` or ``avg_non_ignore`` is given too.
        reduction, loss_weight: As of ``Loss``.
        class_weight: Weight of each class.
        ignore_index: Label of the elements that have no loss; None stands for -100.
        avg_non_ignore: Whether ``mean`` without ``avg_factor`` counts only the elements that are not ignored.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if use_sigmoid and use_mask:
            raise ValueError('CrossEntropyLoss: use_sigmoid and use_mask exclude each other, but both are True.')
        if use_mask and (ignore_index is not None or avg_non_ignore):
            raise ValueError('CrossEntropyLoss: use_mask=True has neither ignore_index nor avg_non_ignore.')
        self.use_sigmoid, self.use_mask = use_sigmoid, use_mask
        self.ignore_index, self.avg_non_ignore = ignore_index, avg_non_ignore
        self.register_class_weight(class_weight)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
        region_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted and reduced cross entropy.

        Args:
            pred: Logits (n, c, ...).
            target: Class indices (n, ...); with ``use_sigmoid`` also values in [0, 1] of the shape of ``pred``; with
                ``use_mask`` masks (n, h, w).
            weight: Weight of each element; with ``use_mask`` of each region, (n,).
            avg_factor, reduction_override: As of ``Loss.forward``.
            ignore_index: Of this call.
            region_labels: With ``use_mask``, the class of each region, (n,), else a ``ValueError``.
        """
        if self.use_mask:
            loss, weight = self._of_masks(pred, target, weight, region_labels)
            return self.reduce(loss, weight, avg_factor, reduction_override)
        ignored = self.ignore_index if ignore_index is None else ignore_index
        elementwise = self.of_each_class if self.use_sigmoid else self._of_softmax
        # -100 is what torch ignores by default
        loss, counts = elementwise(pred, target, -100 if ignored is None else ignored)
        if weight is not None:
            # the loss of a sigmoid has a value for each class, a weight (n,) is for all classes of an element
            per_label = self.use_sigmoid and weight.dim() == target.dim() < pred.dim()
            weight = (weight.unsqueeze(1) if per_label else weight).float()
        if self.avg_non_ignore and avg_factor is None and (reduction_override or self.reduction) == 'mean':
            avg_factor = counts.sum()
        return self.reduce(loss, weight, avg_factor, reduction_override)

    def _class_weight(self, pred: Tensor) -> Tensor | None:
        return None if self.class_weight is None else self.class_weight.to(pred.dtype)

    def _of_softmax(self, pred: Tensor, label: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
        """Loss (n, ...), and which elements count."""
        loss = F.cross_entropy(pred, label, self._class_weight(pred), reduction='none', ignore_index=ignored)
        return loss, label != ignored

    def of_each_class(self, pred: Tensor, label: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
        """Loss (n, c, ...), and which elements count."""
        valid = (label >= 0) & (label != ignored)
        if label.dim() != pred.dim():
            label = one_hot_labels(label, pred.shape[1])
            valid = valid.unsqueeze(1).expand_as(pred)
        # what is ignored, often -100 or 255, is no target that binary cross entropy knows
        target = torch.where(valid, label, 0).to(pred.dtype)
        class_weight = self._class_weight(pred)
        if class_weight is not None:
            class_weight = class_weight.view(-1, *[1] * (pred.dim() - 2))
        loss = F.binary_cross_entropy_with_logits(pred, target, pos_weight=class_weight, reduction='none')
        return loss * valid, valid

    def _of_masks(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Loss (n, h, w) of each region's own mask, and weights (n,)."""
        if labels is None:
            raise ValueError('CrossEntropyLoss(use_mask=True) needs region_labels, the class of each region, (n,).')
        own = pred[torch.arange(len(pred), device=pred.device), labels]
        loss = F.binary_cross_entropy_with_logits(own, target.to(own.dtype), reduction='none')
        if self.class_weight is None:
            return loss, weight
        of_class = self.class_weight[labels]
        return loss, of_class if weight is None else of_class * weight


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
