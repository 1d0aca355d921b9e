"""Albu: all that a sample holds follows the transforms of albumentations."""

import pickle
import sys

import numpy as np
import pytest

from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import RotatedBoxes
from tests.datasets.test_transforms_geometry import BOXES, make_sample

SHIPPED = dict(
    type='Albu',
    transforms=[
        dict(type='ShiftScaleRotate', shift_limit=0.0625, scale_limit=0.0, rotate_limit=0, interpolation=1, p=0.5),
        dict(type='RandomBrightnessContrast', brightness_limit=[0.1, 0.3], contrast_limit=[0.1, 0.3], p=0.2),
        dict(type='OneOf', transforms=[dict(type='RGBShift', p=1.0), dict(type='HueSaturationValue', p=1.0)], p=0.1),
        dict(type='JpegCompression', quality_lower=85, quality_upper=95, p=0.2),
        dict(type='ChannelShuffle', p=0.1),
        dict(type='OneOf', transforms=[dict(type='Blur', blur_limit=3, p=1.0)], p=0.1),
    ],
    bbox_params=dict(
        type='BboxParams',
        format='pascal_voc',
        label_fields=['gt_bboxes_labels', 'gt_ignore_flags'],
        min_visibility=0.0,
        filter_lost_elements=True,
    ),
    keymap={'img': 'image', 'gt_masks': 'masks', 'gt_bboxes': 'bboxes'},
    skip_img_without_anno=True,
)


def albu(*transforms, **arguments):
    pytest.importorskip('albumentations')
    return TRANSFORMS.build(dict(type='Albu', transforms=list(transforms), **arguments))


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(ConfigError, match=r"Albu needs albumentations, .*pip install 'albumentations==2\.0\.8'"):
        TRANSFORMS.build(SHIPPED)


def test_the_shipped_example_runs_and_repeats():
    pytest.importorskip('albumentations')
    transform = pickle.loads(pickle.dumps(TRANSFORMS.build(SHIPPED)))  # as it goes to worker processes
    images = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        images.append(transform(make_sample())['img'])
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
@pytest.mark.parametrize(
    ('theirs', 'ours'),
    [
        (dict(type='HorizontalFlip', p=1.0), dict(type='RandomFlip', prob=1.0)),
        (dict(type='VerticalFlip', p=1.0), dict(type='RandomFlip', prob=1.0, direction='vertical')),
        (dict(type='CenterCrop', height=40, width=50, p=1.0), dict(type='CenterCrop', crop_size=(50, 40))),
    ],
)
def test_samples_move_as_by_our_own_transforms(theirs, ours, kind):
    by_them = albu(theirs)(make_sample(kind))
    by_us = TRANSFORMS.build(ours)(make_sample(kind))
    for key in ('img', 'gt_seg_map', 'gt_keypoints', 'gt_bboxes_labels', 'gt_ignore_flags', 'proposals_scores'):
        assert np.array_equal(by_them[key], by_us[key]), key
    assert by_them['homography_matrix'] == pytest.approx(by_us['homography_matrix'], abs=1e-4)
    assert by_them['img_shape'] == by_us['img_shape']
    assert by_them['gt_bboxes'].numpy() == pytest.approx(by_us['gt_bboxes'].numpy(), abs=1e-3)
    assert len(by_them['proposals']) == len(by_us['proposals'])
    assert np.array_equal(by_them['gt_masks'].to_ndarray(), by_us['gt_masks'].to_ndarray())


def test_what_is_lost_is_dropped_everywhere():
    results = albu(dict(type='Crop', x_min=0, y_min=0, x_max=35, y_max=30, p=1.0))(make_sample())
    assert results['gt_bboxes_labels'].tolist() == [0]
    assert results['gt_bboxes'].numpy() == pytest.approx(BOXES[:1], abs=1e-3)
    assert len(results['gt_masks']) == len(results['gt_keypoints']) == len(results['gt_ignore_flags']) == 1


def test_pictures_without_objects():
    empty = np.zeros((0, 4), np.float32)
    step = dict(type='HorizontalFlip', p=1.0)
    assert len(albu(step)(make_sample(boxes=empty))['gt_bboxes']) == 0
    assert albu(step, skip_img_without_anno=True)(make_sample(boxes=empty)) is None
    assert albu(step)({'img': np.zeros((6, 8, 3), np.uint8)})['img'].shape == (6, 8, 3)


def test_waves_may_lose_points():
    results = albu(dict(type='ElasticTransform', p=1.0))(make_sample())
    assert results['gt_keypoints'].shape == (len(results['gt_bboxes']), 4, 3)


@pytest.mark.parametrize(
    ('step', 'message'),
    [
        (dict(type='Blurr'), r"type='Blurr' is no transform of albumentations .*closest names: Blur"),
        (dict(type='Blur', limit=3), r'Blur of albumentations .* takes no limit; its arguments are blur_limit, p'),
        (dict(type='Rotate', limit='far'), r"Rotate of albumentations [\d.]+: limit: .*got 'far'"),
    ],
)
def test_wrong_steps_are_told(step, message):
    with pytest.raises(ConfigError, match=message):
        albu(step)


def test_turned_boxes_are_refused():
    sample = {'img': np.zeros((20, 20, 3), np.uint8), 'gt_bboxes': RotatedBoxes(np.zeros((1, 5), np.float32))}
    with pytest.raises(ConfigError, match='gt_bboxes of None are RotatedBoxes'):
        albu(dict(type='HorizontalFlip'))(sample)


def test_other_names_in_the_keymap_are_told():
    with pytest.raises(ConfigError, match=r"keymap of Albu has \{'img': 'picture'\}"):
        albu(keymap={'img': 'picture'})
