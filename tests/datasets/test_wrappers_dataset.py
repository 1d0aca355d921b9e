import numpy as np
import pytest

from mmdetlike.datasets import (
    ClassBalancedDataset,
    ConcatDataset,
    MultiImageMixDataset,
    RepeatDataset,
    SeededIndex,
    seeded,
)
from mmdetlike.datasets.errors import PipelineError
from mmdetlike.registry import DATASETS


class Letters:
    """Samples are a letter and a random number drawn under the seed of the index."""

    def __init__(self, letters, labels=None, classes=('a', 'b')):
        self.letters, self.labels = letters, labels or [[0]] * len(letters)
        self.metainfo = {'classes': classes}

    def full_init(self):
        pass

    def __len__(self):
        return len(self.letters)

    def __getitem__(self, index):
        with seeded(index):
            return {'letter': self.letters[index], 'number': np.random.rand()}

    def get_data_info(self, index):
        return {'letter': self.letters[index], 'sample_idx': index}

    def get_cat_ids(self, index):
        return self.labels[index]


def letters(dataset):
    return ''.join(dataset[i]['letter'] for i in range(len(dataset)))


def test_concatenation():
    dataset = ConcatDataset([Letters('abc'), Letters('d', [[1]]), Letters('ef')])
    assert letters(dataset) == 'abcdef'
    assert dataset[-1]['letter'] == 'f'
    assert dataset.get_data_info(3) == {'letter': 'd', 'sample_idx': 3}
    assert dataset.get_cat_ids(3) == [1]
    with pytest.raises(IndexError, match='has 6 samples, there is no number 6'):
        dataset[6]


def test_concatenated_datasets_must_have_the_same_classes():
    datasets = [Letters('a'), Letters('b', classes=('x', 'y'))]
    with pytest.raises(
        ValueError, match=r"metainfo\['classes'\] of dataset 1 differs .*'x', 'y'.*'a', 'b'.*ignore_keys"
    ):
        ConcatDataset(datasets)
    assert letters(ConcatDataset(datasets, ignore_keys='classes')) == 'ab'
    with pytest.raises(ValueError, match='at least one dataset'):
        ConcatDataset([])


def test_repetition():
    dataset = RepeatDataset(Letters('abc'), 2)
    assert letters(dataset) == 'abcabc'
    assert dataset.get_data_info(4)['letter'] == 'b'
    with pytest.raises(ValueError, match='times should be positive, got 0'):
        RepeatDataset(Letters('abc'), 0)


def test_rare_classes_are_repeated():
    # class 1 is in 1 of 8 images: sqrt(0.5 / 0.125) = 2; class 0 in 7 of 8: once
    inner = Letters('abcdefgh', [[0]] * 7 + [[1, 1]])
    assert letters(ClassBalancedDataset(inner, 0.5)) == 'abcdefghh'
    assert letters(ClassBalancedDataset(inner, 0.125)) == 'abcdefgh'
    assert letters(ClassBalancedDataset(inner, 0.6)) == 'abcdefghhh'  # ceil(2.19)


def test_images_without_objects_are_a_class_of_their_own_only_on_request():
    inner = Letters('abcd', [[0], [0], [0], []])
    assert letters(ClassBalancedDataset(inner, 1.0)) == 'aabbccd'
    assert letters(ClassBalancedDataset(inner, 1.0, filter_empty_gt=False)) == 'aabbccdd'


@pytest.mark.parametrize(
    'wrap',
    [
        lambda d: ConcatDataset([Letters('z'), d]),
        lambda d: RepeatDataset(d, 3),
        lambda d: ClassBalancedDataset(d, 1.0),
        lambda d: MultiImageMixDataset(d, []),
        lambda d: RepeatDataset(ConcatDataset([d, d]), 2),
    ],
)
def test_the_seed_of_an_index_is_passed_on(wrap):
    dataset = wrap(Letters('abc'))
    first = dataset[SeededIndex(2, 77)]
    np.random.rand()
    assert dataset[SeededIndex(2, 77)] == first
    assert dataset[SeededIndex(2, 78)]['number'] != first['number']
    assert dataset[2]['number'] != dataset[2]['number']


class Join:
    """Appends the letters of two other samples."""

    def get_indexes(self, dataset):
        return np.random.randint(0, len(dataset), 2).tolist()

    def __call__(self, results):
        joined = results['letter'] + ''.join(r['letter'] for r in results['mix_results'])
        return {**results, 'letter': joined}


class Never:
    def __call__(self, results):
        return None


def test_mixing_several_images():
    dataset = MultiImageMixDataset(Letters('abcdef'), [Join(), Join()])
    sample = dataset[SeededIndex(1, 5)]
    assert len(sample['letter']) == 5
    assert sample['letter'][0] == 'b'
    assert 'mix_results' not in sample
    assert dataset[SeededIndex(1, 5)] == sample
    assert len({dataset[SeededIndex(1, s)]['letter'] for s in range(5)}) > 1


def test_mixing_can_be_switched_off_and_gives_up():
    dataset = MultiImageMixDataset(Letters('abc'), [Join()], skip_type_keys=['mmdet.Join'])
    assert dataset[0]['letter'] == 'a'
    dataset.update_skip_type_keys(None)
    assert len(dataset[0]['letter']) == 3
    with pytest.raises(PipelineError, match='Never returned None 15 times for each of 16 samples'):
        MultiImageMixDataset(Letters('abc'), [Never()])[0]


def test_a_sample_that_is_given_up_is_replaced():
    def refuse_a(results):
        return None if results['letter'].startswith('a') else results

    dataset = MultiImageMixDataset(Letters('abc'), [refuse_a, Join()])
    assert {dataset[SeededIndex(0, seed)]['letter'][0] for seed in range(20)} == {'b', 'c'}
    assert dataset[SeededIndex(0, 3)] == dataset[SeededIndex(0, 3)]
    assert dataset[2]['letter'][0] == 'c'


def test_wrappers_are_built_from_nested_configs():
    inner = {'type': 'ShapesDataset', 'length': 3, 'pipeline': [{'type': 'LoadShapesImage'}]}
    concat = {'type': 'ConcatDataset', 'datasets': [inner, {**inner, 'split': 'val'}]}
    dataset = DATASETS.build({'type': 'mmdet.RepeatDataset', 'times': 2, 'dataset': concat})
    assert len(dataset) == 12
    assert dataset[4]['img_path'] == 'shapes_val_0_000001.png'
    assert dataset[4]['img'].shape == (160, 160, 3)
