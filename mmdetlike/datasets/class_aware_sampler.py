"""A sampler that shows all classes equally often."""

import itertools
from collections.abc import Iterator, Sized

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS
from .errors import DataError
from .samplers import EndlessOrder, EpochSampler


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(EpochSampler):
    """Sample classes equally often, and for each class images that show it.

    After Relay Backpropagation for Effective Learning of Deep Convolutional Neural Networks, arXiv:1512.05830.

    Classes follow one another in an order that is drawn anew for each pass through them, and so do the images of each
    class. An epoch has as many samples as the dataset has images; images without objects are never shown, those of
    rare classes often. Sharding over processes and seeds are those of ``DefaultSampler``.

    Args:
        dataset: A dataset with ``get_cat_ids``.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.
        num_sample_class: How many images of a class follow one another.

    Raises:
        ConfigError: ``num_sample_class`` isn't a positive whole number.
        DataError: The dataset has no objects.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, num_sample_class: int = 1) -> None:
        if isinstance(num_sample_class, bool) or not isinstance(num_sample_class, int) or num_sample_class < 1:
            raise ConfigError(f'num_sample_class={num_sample_class!r} should be a positive whole number.')
        super().__init__(dataset, len(dataset), seed)
        self.num_sample_class = num_sample_class
        self.images_of_class = images_by_class(dataset)

    def order(self, epoch: int) -> list[int]:
        """The images of an epoch, class after class."""
        return list(itertools.islice(self._endless(epoch), self.total_size))

    def _endless(self, epoch: int) -> Iterator[int]:
        """Images without end, class after class, each order depending on seed and epoch alone."""
        classes = EndlessOrder(sorted(self.images_of_class), True, self.seed, epoch, 'classes')
        images = {
            label: EndlessOrder(indices, True, self.seed, epoch, 'images', label)
            for label, indices in self.images_of_class.items()
        }
        shown = dict.fromkeys(images, 0)
        for turn in itertools.count():
            label = classes[turn]
            for _ in range(self.num_sample_class):
                yield images[label][shown[label]]
                shown[label] += 1


def images_by_class(dataset: Sized) -> dict[int, list[int]]:
    """Indices of the images that show each class, by label.

    Raises:
        DataError: There are none.
    """
    images: dict[int, list[int]] = {}
    for index in range(len(dataset)):
        for label in sorted(set(dataset.get_cat_ids(index))):
            images.setdefault(label, []).append(index)
    if not images:
        raise DataError(f'{getattr(dataset, "source", type(dataset).__name__)}: none of its images shows a class.')
    return images
