"""Classification of data whose images are annotated for some classes only: CenterNet2's federated loss, 2103.07461."""

from collections.abc import Sequence

import torch
from mmengine.fileio import load
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.data_root import rooted

from .vast_classes import CrossEntropyCustomLoss


@MODELS.register_module()
class FederatedLoss(CrossEntropyCustomLoss):
    """Binary cross entropy of the classes in a batch and of some others, drawn by how common they are (2103.07461).

    In LVIS an image is annotated completely for a few classes only; that a region is none of the others isn't known.
    A region head uses it without a channel for background.

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
        self._chances: Tensor | None = None
        if not isinstance(frequencies, str):
            self._chances = self._checked(frequencies)

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
