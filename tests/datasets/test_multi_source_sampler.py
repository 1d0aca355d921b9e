"""Batches of several datasets: how many of each, sharded, seeded, resumed, and grouped by shape."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from mmdetlike.datasets import ConcatDataset, GroupMultiSourceSampler, MultiSourceSampler, multi_source
from mmdetlike.errors import ConfigError


class Pictures(Dataset):
    """So many pictures, of which some are upright."""

    metainfo = {}

    def __init__(self, size, upright=()):
        self.size, self.upright = size, set(upright)

    def full_init(self):
        pass

    def __len__(self):
        return self.size

    def get_data_info(self, index):
        return dict(width=10, height=20) if index in self.upright else dict(width=20, height=10)


def sampler(sizes=(4, 10), kind=MultiSourceSampler, rank=0, world=1, upright=((), ()), **kwargs):
    dataset = ConcatDataset([Pictures(size, flags) for size, flags in zip(sizes, upright)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi_source, 'get_dist_info', lambda: (rank, world))
        return kind(dataset, **{**dict(batch_size=5, source_ratio=[1, 4], seed=3), **kwargs})


def batches(source, number, size=5):
    flat = list(itertools.islice(source, number * size))
    return [flat[start : start + size] for start in range(0, len(flat), size)]


@pytest.mark.parametrize(
    'batch_size, ratio, expected', [(5, [1, 4], [1, 4]), (2, [1, 4], [1, 1]), (8, [1, 2], [3, 5]), (4, [3, 1], [3, 1])]
)
def test_each_batch_has_so_many_of_each(batch_size, ratio, expected):
    source = sampler(batch_size=batch_size, source_ratio=ratio)
    for batch in batches(source, 30, batch_size):
        assert [index < 4 for index in batch] == [True] * expected[0] + [False] * expected[1]


def test_every_sample_is_seen_once_a_pass():
    seen = Counter(index for batch in batches(sampler(), 20) for index in batch)
    assert [seen[index] for index in range(4)] == [5] * 4 and [seen[index] for index in range(4, 14)] == [8] * 10
    first = batches(sampler(), 20)
    assert batches(sampler(), 20) == first and batches(sampler(seed=4), 20) != first
    assert len({index.seed for batch in first for index in batch}) == 100


def test_without_shuffling_each_dataset_keeps_its_order():
    flat = [index for batch in batches(sampler(shuffle=False), 3) for index in batch]
    assert flat == [0, 4, 5, 6, 7, 1, 8, 9, 10, 11, 2, 12, 13, 4, 5]


@settings(max_examples=20, deadline=None)
@given(world=st.integers(1, 3), grouped=st.booleans(), steps=st.integers(1, 12))
def test_processes_share_a_pass(world, grouped, steps):
    kind = GroupMultiSourceSampler if grouped else MultiSourceSampler
    upright = (range(2), range(5))
    parts = [sampler(kind=kind, upright=upright, rank=rank, world=world) for rank in range(world)]
    drawn = [batches(part, steps) for part in parts]
    flat = [index for part in drawn for batch in part for index in batch]
    assert len({index.seed for index in flat}) == len(flat)
    if not grouped:
        counts = Counter(index for index in flat if index >= 4)
        assert max(counts.values()) - min(counts[index] for index in range(4, 14)) <= 1


@settings(max_examples=30, deadline=None)
@given(skipped=st.integers(0, 40), grouped=st.booleans(), rank=st.integers(0, 1))
def test_a_resumed_pass_goes_on(skipped, grouped, rank):
    kind = GroupMultiSourceSampler if grouped else MultiSourceSampler
    source = sampler(kind=kind, upright=(range(2), range(5)), rank=rank, world=2)
    whole = [(int(index), index.seed) for index in itertools.islice(source, 60)]
    source.skip(skipped)
    rest = [(int(index), index.seed) for index in itertools.islice(source, 60 - skipped)]
    assert rest == whole[skipped:]
    assert [(int(index), index.seed) for index in itertools.islice(source, 60)] == whole  # skipped but once


def test_batches_of_one_shape():
    upright = ((0,), range(5))
    source = sampler((4, 10), GroupMultiSourceSampler, upright=upright)
    is_upright = [[source.dataset.get_data_info(i)['width'] == 10 for i in batch] for batch in batches(source, 300)]
    assert all(len(set(flags)) == 1 for flags in is_upright)
    assert sum(flags[0] for flags in is_upright) / 300 == pytest.approx(6 / 14, abs=0.08)  # their share of all
    seen = {index for batch in batches(source, 300) for index in batch}
    assert seen == set(range(14))


def test_ranks_draw_the_same_group():
    parts = [sampler((4, 10), GroupMultiSourceSampler, rank, 2, ((0,), range(5))) for rank in range(2)]
    shapes = [[part.dataset.get_data_info(batch[0])['width'] for batch in batches(part, 40)] for part in parts]
    assert shapes[0] == shapes[1]


def test_nothing_is_lost_where_a_dataset_has_one_shape_alone():
    source = sampler((4, 10), GroupMultiSourceSampler, upright=((), range(5)))
    assert {index for batch in batches(source, 30) for index in batch} == set(range(14))


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(source_ratio=[1, 2, 3]), r'source_ratio must have 2 whole numbers, one a dataset, got \[1, 2, 3\]'),
        (dict(source_ratio=[1, 0]), 'must have 2 whole numbers'),
        (dict(source_ratio=[0.5, 0.5]), 'must have 2 whole numbers'),
        (dict(batch_size=1), r'batch_size=1 in the ratio \[1, 4\] gives \[1, 0\] samples of the datasets; each needs'),
    ],
)
def test_ratios_are_checked(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        sampler(**kwargs)


def test_one_dataset_is_refused():
    with pytest.raises(ConfigError, match='MultiSourceSampler needs a ConcatDataset, got Pictures'):
        MultiSourceSampler(Pictures(3), 2, [1, 1])
