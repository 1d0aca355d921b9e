"""Cross entropy over classes, per class, and over masks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss, weight_reduce_loss


def one_hot_labels(label: Tensor, num_classes: int) -> Tensor:
    """Return a bool tensor (n, num_classes, ...) that is true at the class of each label (n, ...).

    A label outside ``[0, num_classes)``, which is how background and ignored elements are marked, has no true entry.
    """
    classes = torch.arange(num_classes, device=label.device)
    return label.unsqueeze(1) == classes.view(-1, *[1] * (label.dim() - 1))


def cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Softmax cross entropy.

    Args:
        pred: Logits (n, c, ...).
        label: Class indices (n, ...).
        weight: (n, ...).
        reduction: ``none``, ``mean`` or ``sum``.
        avg_factor: What ``mean`` divides by.
        class_weight: (c,).
        ignore_index: Label of the elements that have no loss.
        avg_non_ignore: Whether ``mean`` without ``avg_factor`` leaves those elements out of the count.

    Returns:
        (n, ...) or a scalar.
    """
    ignore_index = -100 if ignore_index is None else ignore_index
    if class_weight is not None:
        class_weight = class_weight.to(pred.dtype)
    loss = F.cross_entropy(pred, label, weight=class_weight, reduction='none', ignore_index=ignore_index)
    if avg_non_ignore and avg_factor is None and reduction == 'mean':
        avg_factor = (label != ignore_index).sum()
    return weight_reduce_loss(loss, None if weight is None else weight.float(), reduction, avg_factor)


def binary_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Sigmoid cross entropy of each class.

    Args:
        pred: Logits (n, c, ...).
        label: Class indices (n, ...), where c means background, or targets in [0, 1] of the shape of ``pred``.
            Negative ones and ``ignore_index`` have no loss.
        weight: Of the shape of ``label`` or ``pred``, or (n,).
        reduction: ``none``, ``mean`` or ``sum``.
        avg_factor: What ``mean`` divides by.
        class_weight: Weight of the positive targets, (c,).
        ignore_index: Label of the elements that have no loss.
        avg_non_ignore: Whether ``mean`` without ``avg_factor`` leaves those elements out of the count.

    Returns:
        Of the shape of ``pred``, or a scalar.
    """
    ignore_index = -100 if ignore_index is None else ignore_index
    valid = (label >= 0) & (label != ignore_index)
    if label.dim() != pred.dim():
        if weight is not None and weight.dim() == label.dim():
            weight = weight.unsqueeze(1)
        label = one_hot_labels(label, pred.shape[1])
        valid = valid.unsqueeze(1).expand_as(pred)
    target = torch.where(valid, label, 0).to(pred.dtype)
    if class_weight is not None:
        class_weight = class_weight.to(pred.dtype).view(-1, *[1] * (pred.dim() - 2))
    loss = F.binary_cross_entropy_with_logits(pred, target, pos_weight=class_weight, reduction='none')
    if avg_non_ignore and avg_factor is None and reduction == 'mean':
        avg_factor = valid.sum()
    return weight_reduce_loss(loss * valid, None if weight is None else weight.float(), reduction, avg_factor)


def mask_cross_entropy(
    pred: Tensor,
    target: Tensor,
    label: Tensor,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Sigmoid cross entropy of the mask of each region's own class (Mask R-CNN, arXiv 1703.06870).

    Args:
        pred: Logits (n, c, h, w).
        target: Masks in [0, 1], (n, h, w).
        label: Class of each region, (n,).
        reduction: ``none``, ``mean`` or ``sum``.
        avg_factor: What ``mean`` divides by.
        class_weight: (c,).

    Returns:
        (n, h, w) or a scalar.
    """
    own = pred[torch.arange(len(pred), device=pred.device), label]
    loss = F.binary_cross_entropy_with_logits(own, target.to(own.dtype), reduction='none')
    return weight_reduce_loss(loss, None if class_weight is None else class_weight[label], reduction, avg_factor)


@MODELS.register_module()
class CrossEntropyLoss(Loss):
    """Cross entropy of class logits.

    Args:
        use_sigmoid: Whether classes are independent binary decisions (see ``binary_cross_entropy``).
        use_mask: Whether predictions are masks per class (see ``mask_cross_entropy``); ``weight`` of the call is then
            the label of each region.
        reduction: ``none``, ``mean`` or ``sum``.
        class_weight: Weight of each class.
        ignore_index: Label of the elements that have no loss; None stands for -100.
        loss_weight: Factor of the result.
        avg_non_ignore: Whether ``mean`` without ``avg_factor`` counts only the elements that are not ignored.

    Raises:
        ValueError: ``use_sigmoid`` and ``use_mask`` are both true, or ``ignore_index`` is used with ``use_mask``.
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
        self.use_sigmoid = use_sigmoid
        self.use_mask = use_mask
        self.ignore_index = ignore_index
        self.avg_non_ignore = avg_non_ignore
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', weights, persistent=False)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Return the weighted and reduced cross entropy.

        Args:
            pred: Logits (n, c, ...).
            target: Class indices (n, ...); with ``use_sigmoid`` also (n, c, ...); with ``use_mask`` masks (n, h, w).
            weight: Weight of each element; with ``use_mask`` the class of each region, (n,).
            avg_factor: What ``mean`` divides by, instead of the number of elements.
            reduction_override: Reduction of this call.
            ignore_index: Of this call.
        """
        reduction = reduction_override or self.reduction
        if self.use_mask:
            if weight is None:
                raise ValueError('CrossEntropyLoss(use_mask=True) needs the class of each region as weight, (n,).')
            return self.loss_weight * mask_cross_entropy(pred, target, weight, reduction, avg_factor, self.class_weight)
        function = binary_cross_entropy if self.use_sigmoid else cross_entropy
        ignore_index = self.ignore_index if ignore_index is None else ignore_index
        return self.loss_weight * function(
            pred, target, weight, reduction, avg_factor, self.class_weight, ignore_index, self.avg_non_ignore
        )
