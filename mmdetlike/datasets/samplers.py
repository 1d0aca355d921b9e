"""The order in which a dataset is read: sharded over processes, shuffled, resumable, grouped by shape."""

import itertools
import math
from collections.abc import Iterator, Sequence, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import BatchSampler, Sampler

from ..registry import DATA_SAMPLERS
from .seeding import SeededIndex, stable_hash


def _checked_size(dataset: Sized) -> int:
    if len(dataset) == 0:
        raise ValueError(f'{type(dataset).__name__} is empty: a sampler needs at least one sample.')
    return len(dataset)


def check_skip(num_samples: int) -> int:
    """Return how many samples are to be skipped.

    Raises:
        ValueError: It is negative.
    """
    if num_samples < 0:
        raise ValueError(f'Cannot skip {num_samples} samples.')
    return num_samples


def is_upright(dataset: Sized, index: int) -> bool:
    """Whether image ``index`` is higher than wide.

    Raises:
        ValueError: The dataset doesn't know its size.
    """
    info = dataset.get_data_info(index)
    if 'width' not in info or 'height' not in info:
        raise ValueError(f'Grouping by shape needs width and height of sample {index}, got {sorted(info)}.')
    return info['width'] < info['height']


class EndlessOrder:
    """An endless sequence of indices, pass after pass, each pass in an order of its own.

    Args:
        indices: What a pass consists of.
        shuffle: Whether passes have orders of their own.
        key: What the orders depend on.
    """

    def __init__(self, indices: Sequence[int], shuffle: bool, *key: int | str) -> None:
        self.indices = indices
        self.shuffle = shuffle
        self.key = key
        self._round = -1
        self._order: list[int] = []

    def __getitem__(self, position: int) -> int:
        round_, offset = divmod(position, len(self.indices))
        if not self.shuffle:
            return self.indices[offset]
        if round_ != self._round:
            # seeded by the round, so that skipping to a late one doesn't draw all before it
            generator = torch.Generator().manual_seed(stable_hash(*self.key, round_))
            self._order = torch.randperm(len(self.indices), generator=generator).tolist()
            self._round = round_
        return self.indices[self._order[offset]]


class EpochSampler(Sampler):
    """An epoch's order, shared out: process ``rank`` of ``world`` takes ``rank``, ``rank + world``, ... of it.

    So the batches of b samples that n processes read at one step are together the batch of n * b that one process
    would read. Yields ``SeededIndex``, seeded by (seed, epoch, position in the order). Subclasses say the order.

    Args:
        dataset: The dataset.
        size: Samples in an epoch, of all processes.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.
        round_up: Repeat samples from the start so that all processes get equally many.
    """

    def __init__(self, dataset: Sized, size: int, seed: int | None = None, round_up: bool = True) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.epoch = 0
        self._skip = 0
        self.total_size = math.ceil(size / self.world_size) * self.world_size if round_up else size
        # without round_up, the first processes may have one sample more than the last
        self.num_samples = len(range(self.rank, self.total_size, self.world_size))

    def order(self, epoch: int) -> Sequence[int]:
        """Indices in the order of an epoch, the same in all processes; it is repeated where it is too short."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[SeededIndex]:
        epoch = self.epoch
        order = self.order(epoch)
        start = self.rank + self._skip * self.world_size
        self._skip = 0
        positions = range(start, self.total_size, self.world_size)
        # beyond the end of the order (see round_up) it starts again
        return (
            SeededIndex(order[position % len(order)], stable_hash(self.seed, epoch, position)) for position in positions
        )

    def __len__(self) -> int:
        """Samples of this process in an epoch, whatever is skipped."""
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next pass yields."""
        self.epoch = epoch

    def skip(self, num_samples: int) -> None:
        """Let the next pass, and only that, start after ``num_samples`` samples of this process."""
        if not 0 <= num_samples <= self.num_samples:
            raise ValueError(f'Cannot skip {num_samples} samples of an epoch that has {self.num_samples}.')
        self._skip = num_samples


@DATA_SAMPLERS.register_module()
class DefaultSampler(EpochSampler):
    """Every sample once an epoch.

    Args:
        dataset: The dataset.
        shuffle: Draw a new order each epoch.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.
        round_up: Repeat samples from the start so that all processes get equally many.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True) -> None:
        super().__init__(dataset, _checked_size(dataset), seed, round_up)
        self.shuffle = shuffle

    def order(self, epoch: int) -> list[int]:
        """All indices, in an order of the epoch if they are shuffled."""
        size = len(self.dataset)
        if not self.shuffle:
            return list(range(size))
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(size, generator=generator).tolist()


@DATA_SAMPLERS.register_module()
class InfiniteSampler(Sampler):
    """Passes through the dataset without end, sharded and seeded as ``DefaultSampler`` does.

    Args:
        dataset: The dataset.
        shuffle: Draw a new order for each pass.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.
    """

    endless = True

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.size = _checked_size(dataset)
        self._skip = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        start = self.rank + self._skip * self.world_size
        self._skip = 0
        return self._from(start)

    def _from(self, start: int) -> Iterator[SeededIndex]:
        order = EndlessOrder(range(self.size), self.shuffle, self.seed, 'round')
        for position in itertools.count(start, self.world_size):
            # 'place' is part of the seed: another word would change every run
            yield SeededIndex(order[position], stable_hash(self.seed, 'place', position))

    def __len__(self) -> int:
        """Size of the dataset."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """An endless pass has no epochs; here because runners call it on every sampler."""

    def skip(self, num_samples: int) -> None:
        """Let the next pass, and only that, start after ``num_samples`` samples of this process."""
        self._skip = check_skip(num_samples)


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler(BatchSampler):
    """Batches of images that are all upright (width < height) or all not, so that little is padded.

    What doesn't fill a batch of its kind is batched together at the end.

    Args:
        sampler: Yields indices; its ``dataset`` has ``get_data_info(index)`` with ``width`` and ``height``.
        batch_size: Images a batch.
        drop_last: Leave out a last batch that isn't full.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(sampler, Sampler):
            raise TypeError(f'sampler should be a torch Sampler, got {type(sampler).__name__}.')
        if not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(f'batch_size should be a positive integer, got {batch_size!r}.')
        super().__init__(sampler, batch_size, drop_last)
        self._upright: dict[int, bool] = {}
        self._skip = 0

    def _is_upright(self, index: int) -> bool:
        key = int(index)
        if key not in self._upright:
            self._upright[key] = is_upright(self.sampler.dataset, key)
        return self._upright[key]

    def _batches(self) -> Iterator[list[int]]:
        groups: tuple[list[int], list[int]] = ([], [])
        for index in self.sampler:
            group = groups[self._is_upright(index)]
            group.append(index)
            if len(group) == self.batch_size:
                yield group.copy()
                group.clear()
        left = groups[0] + groups[1]
        for start in range(0, len(left), self.batch_size):
            batch = left[start : start + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __iter__(self) -> Iterator[list[int]]:
        to_skip = self._skip
        self._skip = 0
        return self._after(to_skip)

    def _after(self, to_skip: int) -> Iterator[list[int]]:
        for batch in self._batches():  # replayed from the start: which batch comes next depends on all before it
            if to_skip == 0:
                yield batch
            elif to_skip < len(batch):
                raise ValueError(f'Cannot skip {to_skip} samples of a batch that has {len(batch)}.')
            else:
                to_skip -= len(batch)

    def __len__(self) -> int:
        if self.drop_last:
            return len(self.sampler) // self.batch_size
        return math.ceil(len(self.sampler) / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next pass yields."""
        self.sampler.set_epoch(epoch)

    def skip(self, num_samples: int) -> None:
        """Let the next pass, and only that, start after the batches that hold the first ``num_samples`` samples."""
        self._skip = check_skip(num_samples)
