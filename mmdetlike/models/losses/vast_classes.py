"""Classification by a sigmoid a class in region heads, for vocabularies of thousands (V3Det, 2304.03752; LVIS)."""

from collections.abc import Sequence

import torch
from mmengine.fileio import load
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.data_root import rooted

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


@MODELS.register_module()
class FederatedLoss(CrossEntropyCustomLoss):
    """Binary cross entropy of the classes in a batch and of some others, drawn by how common they are.

    In LVIS an image is annotated completely for a few classes only; that a region is none of the others isn't known.
    A region head uses it without a channel for background. It is CenterNet2's, arXiv 2103.07461.

    Args:
        num_classes: Classes without background.
        num_sampled: Classes that have a loss in a batch at least, those of its objects among them.
        frequencies: In how many images each class is shown, in the order of the classes, or a JSON file with this list,
            or one of LVIS, whose categories have an ``image_count`` and are ordered by ``id``. A file, which may lie
            below ``data`` as datasets do, is read when the first batch is trained. A ``ConfigError`` if they aren't
            numbers of 0 or more, one for each class.
        power: Classes are drawn with the probability of their frequency to this power.
        reduction, loss_weight: As of ``CrossEntropyLoss``.
    """

    def __init__(
        self,
        num_classes: int,
        frequencies: Sequence[float] | str,
        num_sampled: int = 50,
        power: float = 0.5,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(use_sigmoid=True, reduction=reduction, num_classes=num_classes, loss_weight=loss_weight)
        self.num_sampled, self.power = num_sampled, power
        self.frequencies = frequencies
        self._chances = None if isinstance(frequencies, str) else self._checked(frequencies)

    def of_each_class(self, pred: Tensor, label: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
        """Loss (n, num_classes) of the classes that count, and which elements do, by labels (n,) of regions."""
        loss, counts = super().of_each_class(pred, label, ignored)
        # in float32, as if it were weighted
        return loss.float() * self.counted_classes(label), counts

    def counted_classes(self, target: Tensor) -> Tensor:
        """(num_classes,) bool: the classes of a batch's objects (n,), and drawn ones up to ``num_sampled``."""
        counted = torch.zeros(self.num_classes + 1, dtype=torch.bool, device=target.device)
        counted[target] = True
        counted = counted[: self.num_classes]
        missing = self.num_sampled - int(counted.sum())
        chances = self.chances().to(target.device).masked_fill(counted, 0)
        missing = min(missing, int((chances > 0).sum()))
        if missing > 0:
            counted[chances.multinomial(missing)] = True
        return counted

    def chances(self) -> Tensor:
        """(num_classes,) how likely each class is drawn, relative to the others."""
        if self._chances is None:
            self._chances = self._checked(_frequencies_of(self.frequencies))
        return self._chances

    def _checked(self, frequencies: Sequence[float]) -> Tensor:
        numbers = torch.as_tensor(frequencies, dtype=torch.float64)
        if numbers.shape != (self.num_classes,) or not bool((numbers.isfinite() & (numbers >= 0)).all()):
            where = f' ({self.frequencies})' if isinstance(self.frequencies, str) else ''
            raise ConfigError(
                f'FederatedLoss{where}: frequencies should be {self.num_classes} numbers of 0 or more, one for each '
                f'class; got {numbers.numel()}'
            )
        return numbers.pow(self.power).float()


def _frequencies_of(path: str) -> list[float]:
    content = load(rooted(path))
    if isinstance(content, list):
        return content
    categories = content.get('categories') if isinstance(content, dict) else None
    if not categories or not all('image_count' in category for category in categories):
        raise ConfigError(f'{path}: expected a list of numbers, or categories with an image_count as LVIS has them')
    return [category['image_count'] for category in sorted(categories, key=lambda category: category['id'])]
