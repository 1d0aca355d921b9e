"""Classification by a sigmoid a class in region heads, for vocabularies of thousands (V3Det, arXiv 2304.03752)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import MODELS

from .accuracy import accuracy
from .cross_entropy_loss import CrossEntropyLoss
from .focal_loss import FocalLoss


class OwnChannels:
    """What a region head asks a loss that knows channels, probabilities and accuracy of its logits."""

    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True

    num_classes: int
    use_sigmoid: bool

    def check_num_classes(self, num_classes: int) -> None:
        """Raise ``ValueError`` where the loss was made for another number of classes."""
        if num_classes != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} was made for num_classes={self.num_classes}, but is used for {num_classes}.'
            )

    def get_cls_channels(self, num_classes: int) -> int:
        """Channels that the classifier needs: one a class, and one for background where a softmax is taken."""
        self.check_num_classes(num_classes)
        return num_classes if self.use_sigmoid else num_classes + 1

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Probabilities (n, num_classes + 1), background last, of logits (n, num_classes or num_classes + 1)."""
        if not self.use_sigmoid:
            return cls_score.softmax(-1)
        classes = cls_score.sigmoid()
        # a region is background as far as it is of no class
        return torch.cat([classes, 1 - classes.amax(-1, keepdim=True)], dim=-1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Percentage of objects whose class is the likeliest."""
        is_object = labels < self.num_classes
        return dict(acc_classes=accuracy(cls_score[is_object][:, : self.num_classes], labels[is_object]))


@MODELS.register_module()
class CrossEntropyCustomLoss(OwnChannels, CrossEntropyLoss):
    """``CrossEntropyLoss`` that a region head can use with ``use_sigmoid``, without a channel for background.

    Args:
        num_classes: Classes without background.
        use_sigmoid, reduction, class_weight, ignore_index, loss_weight, avg_non_ignore: As of ``CrossEntropyLoss``.
        use_mask: Must be False, else a ``ValueError``.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        num_classes: int = -1,
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        if use_mask:
            raise ValueError('CrossEntropyCustomLoss is a loss of classes: use_mask must be False.')
        super().__init__(use_sigmoid, False, reduction, class_weight, ignore_index, loss_weight, avg_non_ignore)
        self.num_classes = num_classes


@MODELS.register_module()
class FocalCustomLoss(OwnChannels, FocalLoss):
    """``FocalLoss`` that a region head can use, without a channel for background.

    Args:
        num_classes: Classes without background.
        use_sigmoid, gamma, alpha, reduction, loss_weight, activated: As of ``FocalLoss``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        num_classes: int = -1,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(use_sigmoid, gamma, alpha, reduction, loss_weight, activated)
        self.num_classes = num_classes
