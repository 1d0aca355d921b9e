"""Samplers that fill each batch from several datasets in a fixed ratio."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS
from .samplers import EndlessOrder, check_skip, is_upright
from .seeding import SeededIndex, stable_hash
from .wrappers import ConcatDataset


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(Sampler):
    """Batches without end, each with the same number of samples of each dataset, in the order of the datasets.

    Each dataset is passed through again and again, its samples shared out to the processes. Yields ``SeededIndex``,
    seeded by the position among all samples of the run.

    Args:
        dataset: A ``ConcatDataset``.
        batch_size: Samples a batch, of one process; the same as the dataloader's.
        source_ratio: A whole number for each dataset: the ratio in which they share a batch. What is left over by
            rounding comes from the first.
        shuffle: Draw a new order for each pass.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.

    Raises:
        ConfigError: ``dataset`` isn't made of several, ``source_ratio`` doesn't fit it, or a dataset would give no
            sample to a batch.
    """

    endless = True

    def __init__(
        self,
        dataset: ConcatDataset,
        batch_size: int,
        source_ratio: Sequence[int],
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if not isinstance(dataset, ConcatDataset):
            raise ConfigError(f'{type(self).__name__} needs a ConcatDataset, got {type(dataset).__name__}')
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_per_source = _samples_per_source(batch_size, source_ratio, len(dataset.datasets))
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.groups = self.group_indices()
        self._skip = 0

    def group_indices(self) -> list[list[Sequence[int]]]:
        """For each group of images the indices of each dataset; a batch is of one group. Here there is but one."""
        sizes = [len(dataset) for dataset in self.dataset.datasets]
        ends = list(itertools.accumulate(sizes))
        return [[range(end - size, end) for end, size in zip(ends, sizes)]]

    def __iter__(self) -> Iterator[SeededIndex]:
        start = self._skip
        self._skip = 0
        return self._from(start)

    def _from(self, start: int) -> Iterator[SeededIndex]:
        orders = [
            [EndlessOrder(indices, self.shuffle, self.seed, group, source) for source, indices in enumerate(sources)]
            for group, sources in enumerate(self.groups)
        ]
        limits = np.cumsum([sum(map(len, sources)) for sources in self.groups])
        first_step, offset = divmod(start, self.batch_size)
        steps_of_group = [0] * len(self.groups)
        # Steps that are skipped are counted too: how far a group has come depends on all draws before.
        for step in itertools.count():
            # the same group in all processes, so that none waits for another with larger images
            draw = stable_hash(self.seed, 'group', step) % limits[-1]
            group = int(np.searchsorted(limits, draw, side='right'))
            if step >= first_step:
                batch = self._batch(orders[group], steps_of_group[group], step)
                yield from batch[offset if step == first_step else 0 :]
            steps_of_group[group] += 1

    def _batch(self, orders: list[EndlessOrder], step_of_group: int, step: int) -> list[SeededIndex]:
        """This process's batch of a step, which is the ``step_of_group``-th of its group."""
        indices = []
        for order, number in zip(orders, self.num_per_source):
            first = (step_of_group * self.world_size + self.rank) * number
            indices += [order[position] for position in range(first, first + number)]
        start = (step * self.world_size + self.rank) * self.batch_size
        return [
            # 'place' is part of the seed: another word would change every run
            SeededIndex(index, stable_hash(self.seed, 'place', position))
            for position, index in enumerate(indices, start)
        ]

    def __len__(self) -> int:
        """Size of all datasets."""
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """An endless pass has no epochs; here because runners call it on every sampler."""

    def skip(self, num_samples: int) -> None:
        """Let the next pass, and only that, start after ``num_samples`` samples of this process."""
        self._skip = check_skip(num_samples)


def _samples_per_source(batch_size: int, source_ratio: Sequence[int], num_sources: int) -> list[int]:
    """The number of samples that each source gives to a batch."""
    whole = [isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in source_ratio]
    if len(whole) != num_sources or not all(whole):
        raise ConfigError(f'source_ratio must have {num_sources} whole numbers, one a dataset, got {source_ratio}')
    others = [batch_size * number // sum(source_ratio) for number in source_ratio[1:]]
    numbers = [batch_size - sum(others), *others]
    if min(numbers) < 1:
        raise ConfigError(
            f'batch_size={batch_size} in the ratio {list(source_ratio)} gives {numbers} samples of the datasets; each '
            f'needs one at least'
        )
    return numbers


@DATA_SAMPLERS.register_module()
class GroupMultiSourceSampler(MultiSourceSampler):
    """A `MultiSourceSampler` whose batches hold images that are all upright (width < height) or all not.

    A step is drawn with the share that its group has in all images. If a dataset has but one group and another has
    both, images aren't grouped: those of the other group would never be seen.
    """

    def group_indices(self) -> list[list[Sequence[int]]]:
        """The images that aren't upright, and those that are, of each dataset."""
        sources = super().group_indices()[0]
        upright = [[is_upright(self.dataset, index) for index in indices] for indices in sources]
        groups = [
            [[index for index, flag in zip(*source) if flag == wanted] for source in zip(sources, upright)]
            for wanted in (False, True)
        ]
        present = [group for group in groups if any(group)]
        return present if all(all(group) for group in present) else [sources]
