"""A sampler that takes a given number of samples from each of several datasets in an epoch."""

import math
from collections.abc import Sequence

import torch

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS
from .samplers import EpochSampler
from .seeding import stable_hash
from .wrappers import ConcatDataset


@DATA_SAMPLERS.register_module()
class CustomSampleSizeSampler(EpochSampler):
    """Draw a given number of samples from each dataset for each epoch, and shuffle them all together.

    Where more are asked for than a dataset has, it is passed through several times. Sharding over processes and seeds
    are those of ``DefaultSampler``.

    Args:
        dataset: A ``ConcatDataset``.
        dataset_size: Number of samples of each dataset; -1 for all.
        ratio_mode: ``dataset_size`` are shares of the datasets instead: 0.5 for half of one, 2 for twice all.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.
        round_up: Repeat samples from the start so that all processes get equally many.

    Raises:
        ConfigError: ``dataset`` isn't made of several, or ``dataset_size`` doesn't fit it.
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        dataset_size: Sequence[float],
        ratio_mode: bool = False,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        if not isinstance(dataset, ConcatDataset):
            raise ConfigError(f'{type(self).__name__} needs a ConcatDataset, got {type(dataset).__name__}')
        self.sizes = _sizes(dataset_size, ratio_mode, [len(part) for part in dataset.datasets])
        super().__init__(dataset, sum(self.sizes), seed, round_up)

    def order(self, epoch: int) -> list[int]:
        """The indices drawn for an epoch."""
        generator = torch.Generator().manual_seed(stable_hash(self.seed, epoch))
        chosen: list[int] = []
        first = 0
        for part, size in zip(self.dataset.datasets, self.sizes):
            passes = [torch.randperm(len(part), generator=generator) for _ in range(math.ceil(size / len(part)))]
            chosen += (torch.cat(passes)[:size] + first).tolist()
            first += len(part)
        return [chosen[index] for index in torch.randperm(len(chosen), generator=generator).tolist()]


def _sizes(wanted: Sequence[float], ratio_mode: bool, sizes: list[int]) -> list[int]:
    """The number of samples of each dataset in an epoch."""
    kind = 'shares, above 0' if ratio_mode else 'whole numbers, above 0 or -1 for all'
    types = (int, float) if ratio_mode else (int,)
    usable = isinstance(wanted, Sequence) and all(type(number) in types for number in wanted)
    if not usable or len(wanted) != len(sizes) or not all(number > 0 or number == -1 for number in wanted):
        raise ConfigError(f'dataset_size must have {len(sizes)} {kind}, one a dataset, got {wanted!r}')
    if ratio_mode:
        return [math.ceil(size if share == -1 else share * size) for share, size in zip(wanted, sizes)]
    return [size if number == -1 else number for number, size in zip(wanted, sizes)]
