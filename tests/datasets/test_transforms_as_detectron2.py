"""Augmentations that Detectron2 documents: rotation, extent, crops, blending."""

import numpy as np
import pytest
import torch

from mmdetlike.datasets.transforms import (
    CategoryAreaCrop,
    FixedSizeCrop,
    RandomBrightness,
    RandomContrast,
    RandomExtent,
    RandomLighting,
    RandomRotation,
    RandomSaturation,
)
from mmdetlike.datasets.transforms.turn import extent, rotation
from mmdetlike.errors import ConfigError
from mmdetlike.structures import BitmapMasks, HorizontalBoxes
from mmdetlike.structures.bbox import RotatedBoxes


def sample(height=20, width=30, boxes=((4, 6, 10, 12),)):
    masks = np.zeros((len(boxes), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = 1
    image = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3) % 251
    return dict(
        img=image.astype(np.uint8),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.zeros(len(boxes), bool),
        gt_masks=BitmapMasks(masks, height, width),
    )


def test_a_quarter_turn_is_exact_and_counter_clockwise():
    results = sample()
    image = results['img'].copy()
    turned = RandomRotation(90)(results)
    assert np.array_equal(turned['img'], np.rot90(image))
    assert turned['img_shape'] == (30, 20)
    assert turned['gt_bboxes'].tensor.tolist() == [[6, 20, 12, 26]]
    assert turned['gt_masks'].get_bboxes().tensor.tolist() == [[6, 20, 12, 26]]


def test_rotated_boxes_turn_with_the_image():
    results = sample()
    results['gt_bboxes'] = RotatedBoxes([[10.0, 8, 6, 2, 0]])
    turned = RandomRotation(30, expand=False)(results)
    assert turned['gt_bboxes'].tensor[0, 4].item() == pytest.approx(-np.pi / 6)
    assert turned['gt_bboxes'].tensor[0, 2:4].tolist() == pytest.approx([6, 2], abs=1e-4)


def test_an_expanded_rotation_loses_nothing_and_its_inverse_brings_the_image_back():
    warp = rotation((40, 60), 33)
    corners = warp.points(np.array([[0.0, 0], [60, 0], [60, 40], [0, 40]]))
    assert (corners >= -1e-9).all() and (corners <= np.array(warp.size[::-1]) + 1e-9).all()
    smooth = np.add.outer(np.arange(40) * 2, np.arange(60)).astype(np.uint8)
    back = warp.inverse.image(warp.image(smooth))
    assert back.shape == smooth.shape
    assert np.abs(back[3:-3, 3:-3].astype(int) - smooth[3:-3, 3:-3]).max() <= 2


def test_a_center_counts_only_without_expanding():
    fixed = rotation((20, 30), 40, expand=False, center=(0.0, 1.0))
    assert fixed.points(np.array([0.0, 20])).tolist() == pytest.approx([0, 20])
    assert np.array_equal(rotation((20, 30), 40, center=(0.0, 1.0)).matrix, rotation((20, 30), 40).matrix)


def test_angles_are_drawn_from_a_range_or_chosen():
    np.random.seed(0)
    sizes = {RandomRotation([0, 90, 180], sample_style='choice')(sample())['img_shape'] for _ in range(20)}
    assert sizes == {(20, 30), (30, 20)}
    shapes = {RandomRotation([10, 20])(sample())['img_shape'] for _ in range(8)}
    low, high = rotation((20, 30), 10).size, rotation((20, 30), 20).size
    assert all(low[0] <= height <= high[0] for height, _ in shapes)
    with pytest.raises(ConfigError, match=r'angle=\[1, 2, 3\] has to be a lower and an upper end'):
        RandomRotation([1, 2, 3])
    with pytest.raises(ConfigError, match="sample_style='any' is unknown"):
        RandomRotation(3, sample_style='any')


def test_extent_is_a_shifted_rectangle_with_black_outside():
    np.random.seed(1)
    for _ in range(10):
        results = RandomExtent((0.5, 2), (0.3, 0.3))(sample())
        height, width = results['img'].shape[:2]
        assert 10 <= height <= 40 and 15 <= width <= 60
        matrix = results['homography_matrix']
        center = np.linalg.inv(matrix) @ [width / 2, height / 2, 1]
        assert abs(center[0] - 15) <= 15 * 0.3 + 1e-6 and abs(center[1] - 10) <= 10 * 0.3 + 1e-6
    whole = RandomExtent((1, 1), (0, 0))(sample())
    assert np.array_equal(whole['img'], sample()['img'])
    black = extent((20, 30), (-30, 0, 30, 20), (20, 60)).image(sample()['img'])
    assert not black[:, :29].any() and np.array_equal(black[:, 31:], sample()['img'][:, 1:])
    with pytest.raises(ConfigError, match='x1 < x2'):
        extent((20, 30), (5, 0, 5, 20), (20, 60))


def test_a_crop_of_fixed_size_crops_and_pads():
    np.random.seed(0)
    results = FixedSizeCrop((12, 25))(sample())
    assert results['img'].shape == (25, 12, 3)
    assert (results['img'][20:] == 128).all() and results['gt_masks'].size == (25, 12)


def test_no_class_fills_a_window():
    np.random.seed(0)
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 20:] = 1
    labels[:4] = 255
    step = CategoryAreaCrop((20, 20), single_category_max_area=0.75, ignored_category=255)
    fair = 0
    for _ in range(20):
        results = step(dict(img=np.zeros((40, 40, 3), np.uint8), gt_seg_map=labels.copy()))
        counted = results['gt_seg_map'][results['gt_seg_map'] != 255]
        fair += np.bincount(counted).max() <= 0.75 * counted.size
    assert fair >= 18  # ten windows may all be of one class
    results = step(dict(img=np.zeros((40, 40, 3), np.uint8), gt_seg_map=np.zeros((40, 40), np.uint8)))
    assert results['gt_seg_map'].shape == (20, 20)


@pytest.mark.parametrize('step', [RandomBrightness, RandomContrast, RandomSaturation])
def test_a_factor_of_one_changes_nothing(step):
    assert np.array_equal(step(1, 1)(sample())['img'], sample()['img'])


def test_blending():
    image = np.array([[[10, 20, 30], [50, 60, 200]]], np.uint8)
    assert RandomBrightness(2, 2)(dict(img=image.copy()))['img'].tolist() == [[[20, 40, 60], [100, 120, 255]]]
    flat = RandomContrast(0, 0)(dict(img=image.copy()))['img']
    assert (flat == round(image.mean())).all()
    gray = RandomSaturation(0, 0)(dict(img=image.copy()))['img']
    assert gray[0, 1].tolist() == [round(0.114 * 50 + 0.587 * 60 + 0.299 * 200)] * 3
    floats = RandomBrightness(2, 2)(dict(img=image.astype(np.float32)))['img']
    assert floats.dtype == np.float32 and floats.max() == 400


def test_lighting_adds_one_color():
    np.random.seed(3)
    image = np.full((4, 5, 3), 100.0, np.float32)
    changed = RandomLighting(0.5)(dict(img=image.copy()))['img'] - 100
    assert np.ptp(changed.reshape(-1, 3), axis=0).max() < 1e-4 and np.abs(changed).max() > 1
    np.random.seed(3)
    weights = np.random.normal(scale=0.5, size=3) * [0.2175, 0.0188, 0.0045]
    red = 255 * (weights @ [-0.5675, 0.7192, 0.4009])
    assert changed[0, 0, 2] == pytest.approx(red, abs=1e-3)
    assert torch.equal(torch.tensor(RandomLighting(0)(dict(img=image.copy()))['img']), torch.tensor(image))
