import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.datasets import samplers
from mmdetlike.datasets.samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler


def of_rank(monkeypatch, rank, world, cls, *args, **kwargs):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, world))
    return cls(*args, **kwargs)


def with_seeds(indices):
    return [(int(i), i.seed) for i in indices]


class Sized:
    """A dataset of landscape pictures, upright ones where the index is in ``upright``."""

    def __init__(self, size, upright=()):
        self.size, self.upright = size, set(upright)

    def __len__(self):
        return self.size

    def get_data_info(self, index):
        return {'width': 10, 'height': 20} if index in self.upright else {'width': 20, 'height': 10}


def test_an_epoch_has_every_index_once_in_a_new_order_each_time():
    sampler = DefaultSampler(range(20), seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(20))
    assert with_seeds(sampler) == with_seeds(first)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert not {i.seed for i in sampler} & {i.seed for i in first}
    assert list(DefaultSampler(range(20), seed=4)) != first


def test_without_shuffling_the_order_is_that_of_the_dataset_but_seeds_still_change():
    sampler = DefaultSampler(range(5), shuffle=False, seed=0)
    seeds = [i.seed for i in sampler]
    assert list(sampler) == [0, 1, 2, 3, 4]
    sampler.set_epoch(1)
    assert list(sampler) == [0, 1, 2, 3, 4]
    assert [i.seed for i in sampler] != seeds


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), world=st.integers(1, 5), endless=st.booleans())
def test_processes_together_read_what_one_would(size, world, endless):
    with pytest.MonkeyPatch.context() as patch:
        cls = InfiniteSampler if endless else DefaultSampler
        single = of_rank(patch, 0, 1, cls, range(size), seed=1)
        parts = [of_rank(patch, rank, world, cls, range(size), seed=1) for rank in range(world)]
    steps = -(-size // world)
    together = [index for step in zip(*(itertools.islice(p, steps) for p in parts)) for index in step]
    assert len(together) == steps * world
    assert with_seeds(together[:size]) == with_seeds(itertools.islice(single, size))


def test_rounding_up_repeats_samples_with_seeds_of_their_own(monkeypatch):
    parts = [of_rank(monkeypatch, r, 3, DefaultSampler, range(7), shuffle=False, seed=0) for r in range(3)]
    assert [list(p) for p in parts] == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    assert [len(p) for p in parts] == [3, 3, 3]
    assert len({i.seed for p in parts for i in p}) == 9


def test_without_rounding_up_some_processes_get_fewer(monkeypatch):
    parts = [
        of_rank(monkeypatch, r, 3, DefaultSampler, range(7), shuffle=False, seed=0, round_up=False) for r in range(3)
    ]
    assert [list(p) for p in parts] == [[0, 3, 6], [1, 4], [2, 5]]
    assert [len(p) for p in parts] == [3, 2, 2]


def test_more_processes_than_samples(monkeypatch):
    parts = [of_rank(monkeypatch, r, 5, DefaultSampler, range(2), shuffle=False, seed=0) for r in range(5)]
    assert [list(p) for p in parts] == [[0], [1], [0], [1], [0]]


@pytest.mark.parametrize('cls', [DefaultSampler, InfiniteSampler])
@pytest.mark.parametrize(('rank', 'world'), [(0, 1), (1, 2)])
@pytest.mark.parametrize('skipped', [0, 3, 5])
def test_skipping_continues_one_pass_where_it_was_left(monkeypatch, cls, rank, world, skipped):
    sampler = of_rank(monkeypatch, rank, world, cls, range(10), seed=2)
    whole = with_seeds(itertools.islice(sampler, 5))
    sampler.skip(skipped)
    assert with_seeds(itertools.islice(sampler, 5 - skipped)) == whole[skipped:]
    assert with_seeds(itertools.islice(sampler, 5)) == whole


def test_skipping_an_endless_sampler_over_many_rounds():
    sampler = InfiniteSampler(range(7), seed=5)
    whole = with_seeds(itertools.islice(sampler, 100))
    assert [sorted(i for i, _ in whole[k : k + 7]) for k in range(0, 98, 7)] == [list(range(7))] * 14
    assert len({seed for _, seed in whole}) == 100
    sampler.skip(93)
    assert with_seeds(itertools.islice(sampler, 7)) == whole[93:]


def test_skipping_more_than_there_is():
    sampler = DefaultSampler(range(4), seed=0)
    sampler.skip(4)
    assert list(sampler) == []
    with pytest.raises(ValueError, match='Cannot skip 5 samples of an epoch that has 4'):
        sampler.skip(5)
    with pytest.raises(ValueError, match='Cannot skip -1'):
        InfiniteSampler(range(4), seed=0).skip(-1)


@pytest.mark.parametrize('cls', [DefaultSampler, InfiniteSampler])
def test_an_empty_dataset_is_refused(cls):
    with pytest.raises(ValueError, match='list is empty'):
        cls([], seed=0)


def test_batches_do_not_mix_upright_and_lying_images_except_at_the_end():
    dataset = Sized(10, upright=[1, 2, 5, 7, 8])
    sampler = DefaultSampler(dataset, shuffle=False, seed=0)
    batches = list(AspectRatioBatchSampler(sampler, 2))
    assert batches == [[1, 2], [0, 3], [4, 6], [5, 7], [9, 8]]
    assert all(hasattr(i, 'seed') for batch in batches for i in batch)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 30),
    upright=st.sets(st.integers(0, 29)),
    batch_size=st.integers(1, 5),
    drop_last=st.booleans(),
    data=st.data(),
)
def test_batches_by_shape_count_skip_and_replay(size, upright, batch_size, drop_last, data):
    sampler = AspectRatioBatchSampler(DefaultSampler(Sized(size, upright), seed=0), batch_size, drop_last)
    batches = [with_seeds(batch) for batch in sampler]
    assert len(batches) == len(sampler)
    assert all(len(batch) == batch_size for batch in (batches if drop_last else batches[:-1]))
    if not drop_last:
        assert sorted(i for batch in batches for i, _ in batch) == list(range(size))
    skipped = data.draw(st.integers(0, len(batches)))
    sampler.skip(sum(map(len, batches[:skipped])))
    assert [with_seeds(batch) for batch in sampler] == batches[skipped:]
    assert [with_seeds(batch) for batch in sampler] == batches


def test_batch_sampler_refuses_bad_arguments():
    sampler = DefaultSampler(Sized(4), seed=0)
    with pytest.raises(TypeError, match='should be a torch Sampler, got list'):
        AspectRatioBatchSampler([1, 2], 2)
    with pytest.raises(ValueError, match='positive integer, got 0'):
        AspectRatioBatchSampler(sampler, 0)
    batches = AspectRatioBatchSampler(sampler, 2)
    batches.skip(3)
    with pytest.raises(ValueError, match='Cannot skip 1 samples of a batch that has 2'):
        list(batches)
    sampler.dataset.get_data_info = lambda index: {'img_path': 'a.jpg'}
    with pytest.raises(ValueError, match='needs width and height of sample'):
        list(AspectRatioBatchSampler(sampler, 2))
