import pickle
import random

import numpy as np
import pytest
import torch

from mmdetlike.datasets.seeding import SeededIndex, seeded, stable_hash, with_seed_of


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_an_index_keeps_its_seed_on_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SeededIndex(7, 123)))
    assert index == 7
    assert [10, 20, 30][SeededIndex(1, 0)] == 20
    assert index.seed == 123


def test_the_same_seed_draws_the_same_in_all_three_generators():
    with seeded(SeededIndex(0, 5)):
        first = draw()
    draw()
    with seeded(SeededIndex(99, 5)):
        assert draw() == first
    with seeded(SeededIndex(0, 6)):
        assert all(a != b for a, b in zip(draw(), first))


def test_what_is_drawn_outside_is_not_disturbed():
    def outside(with_block):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        if with_block:
            with seeded(SeededIndex(0, 5)):
                draw()
        return draw()

    assert outside(True) == outside(False)


def test_generators_are_restored_after_an_error():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with pytest.raises(KeyError), seeded(SeededIndex(0, 5)):
        raise KeyError
    assert random.random() == expected


def test_a_plain_int_seeds_nothing():
    np.random.seed(3)
    expected = np.random.rand(2)
    np.random.seed(3)
    with seeded(4):
        first = np.random.rand()
    assert [first, np.random.rand()] == expected.tolist()


def test_the_hash_never_changes_and_tells_its_parts_apart():
    assert stable_hash(0, 1, 2) == 2287544130
    assert len({stable_hash(a, b) for a in range(30) for b in range(30)}) == 900
    assert stable_hash(1, 23) != stable_hash(12, 3)


def test_a_seed_is_handed_on_to_an_index_of_another_dataset():
    assert with_seed_of(SeededIndex(5, 9), 2).seed == 9
    assert with_seed_of(SeededIndex(5, 9), 2) == 2
    assert not hasattr(with_seed_of(5, 2), 'seed')
