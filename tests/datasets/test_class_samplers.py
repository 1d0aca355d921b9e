import itertools
from collections import Counter

import pytest

from mmdetlike.datasets import (
    AspectRatioBatchSampler,
    ClassAwareSampler,
    ConcatDataset,
    CustomSampleSizeSampler,
    samplers,
)
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError


class Labeled:
    """A dataset whose images show these classes."""

    metainfo = {'classes': ('a', 'b', 'c')}

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def full_init(self):
        pass

    def get_cat_ids(self, index):
        return self.labels[index]

    def get_data_info(self, index):
        return {'width': 10 + index, 'height': 20, 'img_id': index}


def test_all_classes_are_shown_equally_often():
    labels = [[0]] * 8 + [[1, 1]] + [[2, 0]] + [[]] * 2
    sampler = ClassAwareSampler(Labeled(labels), seed=1)
    order = list(sampler)
    assert len(order) == len(sampler) == 12
    assert not {10, 11} & set(order)  # these show nothing
    for turn in range(0, 12, 3):  # each class once in three samples: 8 is the only one of class 1
        assert order[turn : turn + 3].count(8) == 1
    assert list(sampler) == order
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_images_of_a_class_follow_one_another():
    sampler = ClassAwareSampler(Labeled([[0], [0], [1], [1]]), seed=0, num_sample_class=2)
    order = list(sampler)
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 1)), frozenset((2, 3))}


def test_processes_share_the_order_and_skipping_resumes_it(monkeypatch):
    dataset = Labeled([[index % 3] for index in range(11)])
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (0, 1))
    whole = [(int(i), i.seed) for i in ClassAwareSampler(dataset, seed=5)]
    parts = []
    for rank in range(2):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 2))
        parts.append(ClassAwareSampler(dataset, seed=5))
    together = [(int(i), i.seed) for i in itertools.chain.from_iterable(zip(*parts))]
    assert together[:11] == whole
    parts[1].skip(4)
    assert [(int(i), i.seed) for i in parts[1]] == together[1::2][4:]


def test_class_aware_batches_by_shape():
    dataset = Labeled([[index % 3] for index in range(20)])
    batches = list(AspectRatioBatchSampler(ClassAwareSampler(dataset, seed=0), 2))
    assert sum(map(len, batches)) == 20


def test_what_a_class_aware_sampler_refuses():
    with pytest.raises(ConfigError, match='num_sample_class=0 should be a positive whole number'):
        ClassAwareSampler(Labeled([[0]]), num_sample_class=0)
    with pytest.raises(DataError, match='Labeled: none of its images shows a class'):
        ClassAwareSampler(Labeled([[], []]))


def test_so_many_samples_of_each_dataset():
    dataset = ConcatDataset([Labeled([[0]] * 10), Labeled([[1]] * 3), Labeled([[2]] * 4)])
    sampler = CustomSampleSizeSampler(dataset, [5, 7, -1], seed=2)
    order = list(sampler)
    assert len(order) == len(sampler) == 16
    counts = Counter(order)
    assert len([index for index in counts if index < 10]) == 5
    assert sorted(counts[index] for index in (10, 11, 12)) == [2, 2, 3]
    assert [counts[index] for index in range(13, 17)] == [1] * 4
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_shares_of_each_dataset():
    dataset = ConcatDataset([Labeled([[0]] * 10), Labeled([[1]] * 3)])
    order = list(CustomSampleSizeSampler(dataset, [0.5, 2], ratio_mode=True, seed=2))
    assert sum(index < 10 for index in order) == 5
    assert Counter(index for index in order if index >= 10) == {10: 2, 11: 2, 12: 2}


@pytest.mark.parametrize('sizes', [[5], [5, 0], [5, 1.5], 'ab', [True, 1], [5, -2]])
def test_sizes_that_fit_no_dataset_are_refused(sizes):
    dataset = ConcatDataset([Labeled([[0]] * 10), Labeled([[1]] * 3)])
    with pytest.raises(ConfigError, match='dataset_size must have 2 whole numbers'):
        CustomSampleSizeSampler(dataset, sizes)
    with pytest.raises(ConfigError, match='needs a ConcatDataset, got Labeled'):
        CustomSampleSizeSampler(Labeled([[0]]), [1])
