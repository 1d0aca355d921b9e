"""Datasets by name, records as Detectron2 writes them, keypoint names, the common root, repeat factors by fractions."""

import itertools
import math
import pickle

import cv2
import numpy as np
import pytest

from mmdetlike.datasets import (
    RegisteredDataset,
    RepeatFactorSampler,
    UnlabeledDataset,
    register_dataset,
    registered_datasets,
    remove_dataset,
)
from mmdetlike.datasets.annotations import read_text
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.keypoint_pairs import keypoint_flip_indices, with_keypoint_indices
from mmdetlike.datasets.registered import metainfo_of
from mmdetlike.datasets.repeat_factor_sampler import repeat_factors
from mmdetlike.errors import ConfigError
from mmdetlike.structures import BoxMode
from mmdetlike.utils.data_root import rooted

BOX = dict(bbox=[10, 10, 20, 5], bbox_mode=BoxMode.XYWH_ABS, category_id=1)
RECORD = dict(file_name='a.jpg', height=40, width=60, image_id='a', annotations=[BOX])


@pytest.fixture
def named():
    """A function that registers records as 'mine' for the time of a test."""

    def register(records, **metainfo):
        register_dataset('mine', records, {'classes': ('cat', 'dog'), **metainfo})
        return RegisteredDataset(name='mine')

    yield register
    if 'mine' in registered_datasets():
        remove_dataset('mine')


def test_records_of_detectron2_are_read(named):
    polygon = [[10.0, 10, 30, 10, 30, 15]]
    objects = [
        {**BOX, 'segmentation': polygon, 'keypoints': [12.5, 12.5, 2], 'iscrowd': 1},
        {**BOX, 'point_coords': [[12, 13]], 'point_labels': [1]},
        dict(bbox=(5, 3, 4, 2, 90), bbox_mode=4, category_id=0),
    ]
    dataset = named(lambda: [{**RECORD, 'annotations': objects, 'sem_seg_file_name': 'a.png'}])
    info = dataset.get_data_info(0)
    assert (info['img_path'], info['img_id'], info['seg_map_path']) == ('a.jpg', 'a', 'a.png')
    first, pointed, second = info['instances']
    assert pointed['point_coords'] == [[12, 13]] and pointed['point_labels'] == [1]
    assert first['bbox'] == [10, 10, 30, 15] and first['bbox_label'] == 1 and first['ignore_flag'] == 1
    assert first['mask'] == polygon and first['keypoints'] == [12.5, 12.5, 2]
    assert second['bbox'] == pytest.approx([5, 3, 4, 2, -math.pi / 2])


def test_our_records_are_read_and_loaded(named, tmp_path):
    from mmdetlike.datasets.transforms import LoadAnnotations, LoadImageFromFile

    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 60, 3), np.uint8))
    register_dataset(
        'mine', [dict(img_path=str(tmp_path / 'a.png'), instances=[dict(bbox=[1, 2, 3, 4], bbox_label=0)])]
    )
    dataset = RegisteredDataset(
        name='mine', metainfo=dict(classes=('cat',)), pipeline=[LoadImageFromFile(), LoadAnnotations()]
    )
    assert dataset[0]['gt_bboxes'].tensor.tolist() == [[1, 2, 3, 4]]
    assert dataset.get_data_info(0)['width'] == 60


def test_registering_is_also_a_decorator_and_names_are_unique(named):
    @register_dataset('mine')
    def records():
        return [RECORD]

    assert len(RegisteredDataset(name='mine')) == 1 and records() == [RECORD]
    with pytest.raises(ConfigError, match="'mine' is registered already"):
        register_dataset('mine', [])
    metainfo_of('mine')['classes'] = ('a', 'b')
    assert RegisteredDataset(name='mine').metainfo['classes'] == ('a', 'b')
    assert pickle.loads(pickle.dumps(RegisteredDataset(name='mine'))).get_data_info(0)['img_id'] == 'a'


@pytest.mark.parametrize('change, words', [
    (dict(file_name=3), r"dataset 'mine': record 0 has file_name=3; expected the path"),
    (dict(height='x'), r"record 0 has width=60 and height='x'; expected pixels"),
    (dict(annotations=[{**BOX, 'bbox': [1, 2]}]), r'\[0\] has bbox=\[1, 2\]; expected 4 numbers for XYWH_ABS'),
    (dict(annotations=[{**BOX, 'bbox_mode': 2}]), r'has bbox_mode=2; expected'),
    (dict(annotations=[{**BOX, 'category_id': 2}]), r'the class 2; expected a whole number below 2'),
    (dict(annotations=[{**BOX, 'category_id': None}]), r'has the class None'),
    (dict(annotations=[{**BOX, 'segmentation': [[1, 2, 3]]}]), r'segmentation that cannot be read'),
    (dict(annotations=[{**BOX, 'segmentation': 'text'}]), r'segmentation that cannot be read'),
])  # fmt: skip
def test_wrong_records_are_told(named, change, words):
    with pytest.raises(DataError, match=words):
        named([{**RECORD, **change}]).full_init()


def test_boxes_outside_are_counted(named):
    dataset = named([{**RECORD, 'annotations': [BOX, {**BOX, 'bbox': [70, 10, 5, 5]}]}])
    assert len(dataset.get_data_info(0)['instances']) == 1
    assert dataset.skipped == 1


def test_unknown_names_and_other_things_than_lists_are_told(named):
    with pytest.raises(ConfigError, match="dataset 'yours' is not registered; registered are: none"):
        RegisteredDataset(name='yours')
    with pytest.raises(DataError, match="dataset 'mine': expected a list of dicts"):
        named(lambda: {'a': 1})


def test_images_with_few_keypoints_are_left_out(named):
    def record(visibilities):
        points = [number for v in visibilities for number in (12.0, 12.0, v)]
        return {**RECORD, 'annotations': [{**BOX, 'keypoints': points}, {**BOX, 'keypoints': points, 'iscrowd': 1}]}

    named([record([0, 0]), record([2, 0]), record([1, 2])])
    dataset = RegisteredDataset(name='mine', filter_cfg=dict(min_keypoints=2))
    assert len(dataset) == 1
    with pytest.raises(DataError, match='3 have fewer than 3 labeled keypoints'):
        RegisteredDataset(name='mine', filter_cfg=dict(min_keypoints=3)).full_init()
    with pytest.raises(ConfigError, match="min_keypoints='a'; expected a whole number"):
        RegisteredDataset(name='mine', filter_cfg=dict(min_keypoints='a')).full_init()


NAMES = ['nose', 'left_eye', 'right_eye']


def test_keypoints_that_change_places_are_found_by_name(named):
    rules = [('nose', 'left_eye', (255, 0, 0)), ('nose', 'right_eye', (0, 0, 255))]
    dataset = named(
        [RECORD],
        keypoint_names=NAMES,
        keypoint_flip_map=[('left_eye', 'right_eye')],
        keypoint_connection_rules=rules,
    )
    assert dataset.metainfo['flip_indices'] == [0, 2, 1]
    assert dataset.metainfo['skeleton_links'] == [(0, 1), (0, 2)]
    assert dataset.metainfo['skeleton_colors'] == [(255, 0, 0), (0, 0, 255)]
    assert dataset.pipeline_input(0)['flip_indices'] == [0, 2, 1]
    assert with_keypoint_indices(dict(keypoint_names=NAMES, flip_indices=[0, 1, 2]))['flip_indices'] == [0, 1, 2]
    with pytest.raises(ConfigError, match="has 'left_ear'; expected one of keypoint_names"):
        keypoint_flip_indices(NAMES, [('left_ear', 'right_eye')])
    with pytest.raises(ConfigError, match="has 'nose' in two pairs"):
        keypoint_flip_indices(NAMES, [('nose', 'left_eye'), ('right_eye', 'nose')])


def test_one_variable_moves_all_data(monkeypatch, tmp_path):
    assert rooted('data/coco/') == 'data/coco/'
    monkeypatch.setenv('MMDETLIKE_DATASETS', str(tmp_path))
    assert rooted('data/coco/') == f'{tmp_path}/coco/'
    for path in ('/data/coco', './data/coco', 's3://data/coco', 'database/coco', ''):
        assert rooted(path) == path
    (tmp_path / 'pictures').mkdir()
    cv2.imwrite(str(tmp_path / 'pictures/a.png'), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / 'pictures/names.txt').write_text('cat')
    assert read_text('data/pictures/names.txt') == 'cat'
    dataset = UnlabeledDataset(data_root='data/pictures')
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'pictures/a.png')


class Labels(list):
    def get_cat_ids(self, index):
        return self[index]


def test_factors_follow_the_rarest_class():
    dataset = Labels([[0], [0], [0, 1], []])
    assert repeat_factors(dataset, 1.0) == pytest.approx([math.sqrt(4 / 3), math.sqrt(4 / 3), 2, 1])
    assert repeat_factors(dataset, 1.0, filter_empty_gt=False)[3] == 2


def test_fractions_are_drawn_anew_in_each_pass():
    sampler = RepeatFactorSampler(Labels([[0]] * 3), factors=[1.0, 2.3, 0.0], shuffle=False, seed=0)
    shown = [int(index) for index in itertools.islice(sampler, 3000)]
    assert 2 not in shown
    assert shown.count(1) / shown.count(0) == pytest.approx(2.3, abs=0.06)
    gaps = {b - a for a, b in itertools.pairwise([i for i, index in enumerate(shown) if index == 0])}
    assert gaps == {3, 4}


def test_processes_share_one_order_and_skipping_goes_on_in_it(monkeypatch):
    dataset = Labels([[0]] * 5)

    def first(count, rank=0, world=1, skip=0):
        monkeypatch.setattr('mmdetlike.datasets.repeat_factor_sampler.get_dist_info', lambda: (rank, world))
        sampler = RepeatFactorSampler(dataset, factors=[1.5] * 5, seed=3)
        sampler.skip(skip)
        return [(int(index), index.seed) for index in itertools.islice(sampler, count)]

    whole = first(40)
    assert [pair for both in zip(first(20, 0, 2), first(20, 1, 2)) for pair in both] == whole
    assert first(10, skip=30) == whole[30:]
    assert first(5, 1, 2, skip=10) == whole[21:30:2]


@pytest.mark.parametrize('arguments, words', [
    (dict(), 'needs oversample_thr or factors'),
    (dict(oversample_thr=1, factors=[1, 1]), 'not both'),
    (dict(factors=[1]), 'there are 1 factors for 2 images'),
    (dict(factors=[0, 0]), 'one above 0'),
    (dict(factors=[1, float('nan')]), 'numbers of 0 or more'),
])  # fmt: skip
def test_wrong_factors_are_told(arguments, words):
    with pytest.raises(ConfigError, match=words):
        RepeatFactorSampler(Labels([[0], [0]]), **arguments)
