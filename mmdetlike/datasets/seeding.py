"""Random augmentation that depends only on the run's seed, the epoch and the position of a sample in it.

A sampler hands out indices that carry a seed; a dataset seeds the random generators from it while it makes the sample.
So the number of worker processes doesn't change what is seen, and a resumed run repeats it exactly.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class SeededIndex(int):
    """The index of a sample, together with the seed of the random choices made for it.

    Args:
        value: The index.
        seed: In [0, 2**32).
    """

    seed: int

    def __new__(cls, value: int, seed: int) -> 'SeededIndex':
        self = super().__new__(cls, value)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, int]:
        return int(self), self.seed  # what pickle calls __new__ with in a worker process

    def __repr__(self) -> str:
        return f'SeededIndex({int(self)}, seed={self.seed})'


def stable_hash(*parts: int | str) -> int:
    """A number in [0, 2**32) that depends on ``parts`` only, the same on every machine and in every process."""
    text = '\0'.join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), 'little')


def with_seed_of(index: int, value: int) -> int:
    """``value`` carrying the seed of ``index``, if it has one: for datasets that pass a call on to another."""
    seed = getattr(index, 'seed', None)
    return value if seed is None else SeededIndex(value, seed)


@contextmanager
def seeded(index: int) -> Iterator[None]:
    """Within the block, ``random``, ``np.random`` and torch's CPU generator start from the seed of ``index``.

    Their states from before are restored at the end. A plain int changes nothing.
    """
    seed = getattr(index, 'seed', None)
    if seed is None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds the generators of GPUs, too
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
