"""A sampler that shows images of rare classes more often, by fractions."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS
from .samplers import check_skip
from .seeding import SeededIndex, stable_hash


def repeat_factors(dataset: Sized, oversample_thr: float, filter_empty_gt: bool = True) -> list[float]:
    """How often each image is to be shown (LVIS: A Dataset for Large Vocabulary Instance Segmentation, 1908.03195).

    With f the share of images that show a class, its factor is max(1, sqrt(oversample_thr / f)); the rarest class of an
    image decides.

    Args:
        dataset: A dataset with ``get_cat_ids``.
        oversample_thr: Classes in a smaller share of the images than this are repeated.
        filter_empty_gt: Never repeat images without objects; otherwise they count as a class of their own.
    """
    background = () if filter_empty_gt else (-1,)  # the class of images without objects
    labels = [set(dataset.get_cat_ids(i)) or set(background) for i in range(len(dataset))]
    images = Counter(itertools.chain.from_iterable(labels))
    factors = {label: max(1.0, math.sqrt(oversample_thr * len(labels) / count)) for label, count in images.items()}
    return [max((factors[label] for label in present), default=1.0) for present in labels]


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(Sampler):
    """Passes through the dataset without end that show image i on average ``factor[i]`` times each.

    The fraction of a factor is drawn anew in each pass: an image of factor 2.3 is shown twice, and in three of ten
    passes once more. (``ClassBalancedDataset`` rounds up once.) Sharding over processes and seeds are those of
    ``InfiniteSampler``.

    Args:
        dataset: A dataset, with ``get_cat_ids`` unless ``factors`` are given.
        oversample_thr: See `repeat_factors`.
        factors: One number of 0 or more for each image, in place of ``oversample_thr``.
        shuffle: Draw a new order for each pass.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.

    Raises:
        ConfigError: Both or none of ``oversample_thr`` and ``factors`` are given, there are more or fewer factors than
            images, or none is above 0.
    """

    endless = True

    def __init__(
        self,
        dataset: Sized,
        oversample_thr: float | None = None,
        factors: Sequence[float] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if (oversample_thr is None) == (factors is None):
            raise ConfigError('RepeatFactorSampler needs oversample_thr or factors, and not both.')
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.factors = list(repeat_factors(dataset, oversample_thr) if factors is None else factors)
        _check_factors(self.factors, len(dataset))
        self._skip = 0

    def _pass(self, number: int) -> list[int]:
        """Indices of one pass, all processes together."""
        generator = torch.Generator().manual_seed(stable_hash(self.seed, 'repeat', number))
        draws = torch.rand(len(self.factors), generator=generator, dtype=torch.float64).tolist()
        counts = [int(factor) + (draw < factor % 1) for factor, draw in zip(self.factors, draws)]
        indices = [index for index, count in enumerate(counts) for _ in range(count)]
        if not self.shuffle:
            return indices
        return [indices[i] for i in torch.randperm(len(indices), generator=generator).tolist()]

    def __iter__(self) -> Iterator[SeededIndex]:
        to_skip = self._skip
        self._skip = 0
        order = itertools.chain.from_iterable(map(self._pass, itertools.count()))
        # passes differ in length, so that a late position is only found by way of all before it
        mine = itertools.islice(enumerate(order), self.rank + to_skip * self.world_size, None, self.world_size)
        return (SeededIndex(index, stable_hash(self.seed, 'repeat sample', position)) for position, index in mine)

    def __len__(self) -> int:
        """Size of the dataset."""
        return len(self.factors)

    def set_epoch(self, epoch: int) -> None:
        """An endless pass has no epochs; here because runners call it on every sampler."""

    def skip(self, num_samples: int) -> None:
        """Let the next pass, and only that, start after ``num_samples`` samples of this process."""
        self._skip = check_skip(num_samples)


def _check_factors(factors: Sequence[float], size: int) -> None:
    if len(factors) != size:
        raise ConfigError(f'RepeatFactorSampler: there are {len(factors)} factors for {size} images.')
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors) or not any(factors):
        raise ConfigError('RepeatFactorSampler: factors have to be numbers of 0 or more, and one above 0.')
