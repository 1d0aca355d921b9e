"""What each geometric transform does in particular."""

import numpy as np
import pytest

from mmdetlike.datasets.transforms import (
    Expand,
    FixShapeResize,
    MinIoURandomCrop,
    Pad,
    RandomAffine,
    RandomChoiceResize,
    RandomCrop,
    RandomFlip,
    RandomResize,
    RandomShift,
    Resize,
)
from mmdetlike.errors import ConfigError
from mmdetlike.structures import HorizontalBoxes, PolygonMasks


def sample(height=60, width=80, boxes=()):
    boxes = HorizontalBoxes(np.array(boxes, np.float32))
    return {
        'img': np.full((height, width, 3), 200, np.uint8),
        'img_shape': (height, width),
        'gt_bboxes': boxes,
        'gt_bboxes_labels': np.arange(len(boxes)),
    }


def shape_after(transform, **kwargs):
    return transform(sample(**kwargs))['img'].shape[:2]


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


@pytest.mark.parametrize(
    ('size', 'scale', 'expected'),
    [
        ((480, 640), (1333, 800), (800, 1067)),
        ((640, 480), (1333, 800), (1067, 800)),
        ((300, 900), (1333, 800), (444, 1333)),
        ((480, 640), (800, 1333), (800, 1067)),
        ((1, 3000), (1333, 800), (1, 1333)),
    ],
)
def test_resize_keeps_the_ratio_within_bounds(size, scale, expected):
    results = Resize(scale=scale, keep_ratio=True)(sample(*size))
    assert results['img_shape'] == expected
    assert results['scale_factor'] == (expected[1] / size[1], expected[0] / size[0])
    assert results['keep_ratio'] is True
    assert results['scale'] == scale


def test_resize_to_scale_or_by_factor():
    assert shape_after(Resize(scale=(30, 90))) == (90, 30)
    assert shape_after(Resize(scale=50)) == (50, 50)
    assert shape_after(Resize(scale_factor=0.5)) == (30, 40)
    assert shape_after(Resize(scale_factor=(2.0, 0.5), interpolation='area')) == (30, 160)


def test_resize_twice_accumulates_the_factor():
    results = Resize(scale=(160, 60))(Resize(scale=(40, 30))(sample()))
    assert results['scale_factor'] == (2.0, 1.0)
    assert np.diag(results['homography_matrix']).tolist() == [2, 1, 1]


def test_resize_clips_boxes_unless_told_not_to():
    outside = [[-10, 10, 90, 70]]
    assert Resize(scale=(40, 30))(sample(boxes=outside))['gt_bboxes'].tensor.tolist() == [[0, 5, 40, 30]]
    loose = Resize(scale=(40, 30), clip_object_border=False)(sample(boxes=outside))
    assert loose['gt_bboxes'].tensor.tolist() == [[-5, 5, 45, 35]]


def test_resize_rejects_bad_settings():
    for bad in ({}, {'scale': (2, 2), 'scale_factor': 2}):
        with pytest.raises(ValueError, match='either scale or scale_factor'):
            Resize(**bad)
    with pytest.raises(ValueError, match=r'scale must be.*\(0, 5\)'):
        Resize(scale=(0, 5))
    with pytest.raises(ValueError, match='cubicle'):
        Resize(scale=5, interpolation='cubicle')
    with pytest.raises(ValueError, match="'turbo'"):
        Resize(scale=5, backend='turbo')


def test_fix_shape_resize():
    assert shape_after(FixShapeResize(50, 90)) == (90, 50)
    results = FixShapeResize(50, 90, keep_ratio=True, pad_val=7)(sample(boxes=[[0, 0, 80, 60]]))
    assert results['img'].shape == (90, 50, 3)
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 50, 38]]
    assert results['img'][38:].min() == results['img'][38:].max() == 7
    assert results['scale_factor'] == (50 / 80, 38 / 60)


def test_random_resize_draws_from_its_range():
    widths = {shape_after(RandomResize(scale=(100, 100), ratio_range=(0.5, 2.0)))[1] for _ in range(60)}
    assert min(widths) < 60
    assert max(widths) > 180
    assert min(widths) >= 50
    assert max(widths) <= 200
    shapes = {shape_after(RandomResize(scale=[(133, 64), (133, 80)], keep_ratio=True)) for _ in range(80)}
    assert {height for height, _ in shapes} == set(range(64, 81))


def test_random_choice_resize_records_its_choice():
    scales = [(50, 90), (120, 60), 40]
    for _ in range(20):
        results = RandomChoiceResize(scales)(sample())
        height, width = results['img_shape']
        assert (width, height) == [(50, 90), (120, 60), (40, 40)][results['scale_idx']]


def test_random_resizes_reject_bad_settings():
    with pytest.raises(ValueError, match='two scales, or one and ratio_range'):
        RandomResize(scale=(100, 100))
    with pytest.raises(ConfigError, match=r"'keep_ration' is not an argument; did you mean 'keep_ratio'\?"):
        RandomResize(scale=(100, 100), ratio_range=(1, 2), keep_ration=True)
    with pytest.raises(ConfigError, match='Resize'):
        RandomChoiceResize([(5, 5)], resize_type='Resise')
    with pytest.raises(ValueError, match='one scale at least'):
        RandomChoiceResize([])


def test_flip_probabilities():
    def share(prob, direction):
        flip = RandomFlip(prob, direction)
        drawn = [flip({'img': np.zeros((2, 2))})['flip_direction'] for _ in range(600)]
        return [drawn.count(d) / 600 for d in ('horizontal', 'vertical', None)]

    assert share(0.5, 'horizontal') == pytest.approx([0.5, 0, 0.5], abs=0.07)
    assert share(0.5, ['horizontal', 'vertical']) == pytest.approx([0.25, 0.25, 0.5], abs=0.07)
    assert share([0.6, 0.1], ['horizontal', 'vertical']) == pytest.approx([0.6, 0.1, 0.3], abs=0.07)
    assert share([0.0, 1.0], ['horizontal', 'vertical']) == [0, 1, 0]
    assert share(None, 'horizontal') == [0, 0, 1]


def test_flip_records_and_flips():
    results = RandomFlip(1.0)({**sample(boxes=[[10, 5, 30, 40]])})
    assert results['flip'] is True
    assert results['flip_direction'] == 'horizontal'
    assert results['gt_bboxes'].tensor.tolist() == [[50, 5, 70, 40]]
    assert RandomFlip(0.0)(sample())['flip'] is False


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip_twice_is_identity(direction):
    rng = np.random.default_rng(0)
    before = sample(boxes=[[10, 5, 30, 40]])
    before |= {
        'img': rng.integers(0, 255, (60, 80, 3), dtype=np.uint8),
        'gt_masks': PolygonMasks.random(1, 60, 80),
        'gt_keypoints': np.array([[[3, 4, 2], [0, 0, 0], [80, 60, 1]]], np.float32),
        'flip_indices': [1, 0, 2],
    }
    flip = RandomFlip(1.0, direction)
    after = flip(flip(dict(before)))
    assert np.array_equal(after['img'], before['img'])
    assert after['gt_bboxes'].tensor.tolist() == [[10, 5, 30, 40]]
    assert after['gt_keypoints'].tolist() == before['gt_keypoints'].tolist()
    assert after['gt_masks'].masks[0][0] == pytest.approx(before['gt_masks'].masks[0][0])
    assert after['homography_matrix'].tolist() == np.eye(3).tolist()


def test_mirroring_swaps_left_and_right_keypoints():
    keypoints = np.array([[[10, 5, 2], [60, 7, 1]]], np.float32)
    for direction, expected in (
        ('horizontal', [[20, 7, 1], [70, 5, 2]]),
        ('vertical', [[60, 53, 1], [10, 55, 2]]),
        ('diagonal', [[70, 55, 2], [20, 53, 1]]),
    ):
        results = {**sample(), 'gt_keypoints': keypoints, 'flip_indices': [1, 0]}
        assert RandomFlip(1.0, direction)(results)['gt_keypoints'][0].tolist() == expected


def test_flip_rejects_bad_settings():
    with pytest.raises(ValueError, match="'sideways'"):
        RandomFlip(0.5, 'sideways')
    with pytest.raises(ValueError, match=r'2 directions.*3 prob'):
        RandomFlip([0.1, 0.1, 0.1], ['horizontal', 'vertical'])
    with pytest.raises(ValueError, match='between 0 and 1'):
        RandomFlip([0.7, 0.7], ['horizontal', 'vertical'])


def test_pad():
    assert shape_after(Pad(size=(100, 70))) == (70, 100)
    assert shape_after(Pad(size=(50, 70))) == (70, 80)
    assert shape_after(Pad(size_divisor=32)) == (64, 96)
    assert shape_after(Pad(pad_to_square=True)) == (80, 80)
    assert shape_after(Pad(pad_to_square=True, size_divisor=32)) == (96, 96)
    results = Pad(size=(90, 60), pad_val={'img': (1, 2, 3), 'seg': 4})(
        {**sample(), 'gt_seg_map': np.zeros((60, 80), np.uint8)}
    )
    assert results['img'][0, 85].tolist() == [1, 2, 3]
    assert results['gt_seg_map'][0, 85] == 4
    assert results['pad_shape'] == (60, 90, 3)
    assert results['pad_fixed_size'] == (90, 60)
    assert Pad(size=(90, 60), padding_mode='edge')(sample())['img'].min() == 200


def test_pad_rejects_bad_settings():
    for bad in ({}, {'size': (9, 9), 'size_divisor': 32}):
        with pytest.raises(ValueError, match='Pad needs size'):
            Pad(**bad)
    with pytest.raises(ValueError, match='image'):
        Pad(size=(9, 9), pad_val={'image': 3})
    with pytest.raises(ValueError, match='wrap'):
        Pad(size=(9, 9), padding_mode='wrap')


def test_expand_fills_with_the_mean():
    results = Expand(mean=(1, 2, 3), prob=1.0, ratio_range=(2, 2))(sample(boxes=[[0, 0, 80, 60]]))
    assert results['img'].shape == (120, 160, 3)
    x1, y1, x2, y2 = results['gt_bboxes'].tensor[0].int().tolist()
    assert (x2 - x1, y2 - y1) == (80, 60)
    assert results['img'][y1:y2, x1:x2].min() == 200
    outside = np.delete(results['img'], slice(y1, y2), axis=0)
    assert outside.reshape(-1, 3).min(0).tolist() == outside.reshape(-1, 3).max(0).tolist() == [3, 2, 1]
    assert shape_after(Expand(prob=0.0)) == (60, 80)
    with pytest.raises(ValueError, match='cannot shrink'):
        Expand(ratio_range=(0.5, 2))


def test_shift_never_loses_all_boxes_and_drops_slivers():
    edge = [[0, 0, 3, 60]]
    for _ in range(40):
        results = RandomShift(prob=1.0, max_shift_px=10, filter_thr_px=1)(sample(boxes=edge))
        assert len(results['gt_bboxes']) == 1
    shift = RandomShift(prob=1.0, max_shift_px=10, filter_thr_px=4)
    results = [shift(sample(boxes=[[0, 0, 5, 60], [20, 20, 60, 40]])) for _ in range(40)]
    dropped = [r for r in results if len(r['gt_bboxes']) == 1]
    assert dropped
    assert all(r['gt_bboxes_labels'].tolist() == [1] for r in dropped)
    assert all(r['gt_bboxes'].widths.min() > 4 for r in results)
    assert any((r['img'] == 0).any() for r in results)


@pytest.mark.parametrize(
    ('crop_size', 'crop_type', 'expected'),
    [
        ((50, 40), 'absolute', (40, 50)),
        ((500, 40), 'absolute', (40, 80)),
        ((0.5, 0.25), 'relative', (15, 40)),
    ],
)
def test_crop_sizes(crop_size, crop_type, expected):
    assert shape_after(RandomCrop(crop_size, crop_type, allow_negative_crop=True)) == expected


def test_crop_ranges():
    crop = RandomCrop((20, 30), 'absolute_range', allow_negative_crop=True)
    shapes = np.array([shape_after(crop) for _ in range(80)])
    assert shapes.min(0).tolist() == [20, 20]
    assert shapes.max(0).tolist() == [30, 30]
    crop = RandomCrop((0.5, 0.9), 'relative_range', allow_negative_crop=True)
    shapes = np.array([shape_after(crop) for _ in range(80)])
    assert shapes.min(0).tolist() == pytest.approx([54, 40], abs=1)
    assert shapes.max(0).tolist() == pytest.approx([60, 80], abs=1)


def test_a_background_picture_passes_a_crop():
    assert RandomCrop((10, 20))(sample(boxes=[]))['img'].shape == (20, 10, 3)


def test_a_crop_that_loses_all_objects_gives_the_sample_up():
    corner = [[0, 0, 2, 2]]
    outcomes = [RandomCrop((10, 10))(sample(boxes=corner)) for _ in range(50)]
    assert None in outcomes
    assert all(len(results['gt_bboxes']) for results in outcomes if results is not None)
    allowed = [RandomCrop((10, 10), allow_negative_crop=True)(sample(boxes=corner)) for _ in range(50)]
    assert any(len(results['gt_bboxes']) == 0 for results in allowed)


def test_crop_recomputes_boxes_from_masks():
    triangle = PolygonMasks([[np.array([0, 0, 80, 0, 0, 60.0])]], 60, 80)
    for _ in range(20):
        results = {**sample(boxes=[[0, 0, 80, 60]]), 'gt_masks': triangle}
        results = RandomCrop((40, 30), recompute_bbox=True, allow_negative_crop=True)(results)
        assert np.array_equal(results['gt_bboxes'].tensor.numpy(), results['gt_masks'].extents())
        assert len(results['gt_bboxes_labels']) == len(results['gt_bboxes'])


def test_crop_may_leave_boxes_unclipped():
    results = RandomCrop((40, 60), bbox_clip_border=False)(sample(boxes=[[0, 0, 80, 60]]))
    assert results['gt_bboxes'].widths.item() == 80


def test_crop_rejects_bad_settings():
    for crop_size, crop_type, message in (
        ((5, 5), 'circular', 'circular'),
        ((1.5, 0.5), 'relative', '1 at most'),
        ((0.5, 0.5), 'absolute', 'whole pixels'),
        ((30, 20), 'absolute_range', 'lower end'),
        ((0, 20), 'absolute', 'positive'),
    ):
        with pytest.raises(ValueError, match=message):
            RandomCrop(crop_size, crop_type)


def test_min_iou_crop_keeps_what_it_promises():
    boxes = [[10, 10, 40, 40], [50, 20, 75, 55]]
    whole = 0
    for _ in range(60):
        results = MinIoURandomCrop(min_ious=(0.3,))(sample(boxes=boxes))
        height, width = results['img_shape']
        whole += (height, width) == (60, 80)
        assert len(results['gt_bboxes']) >= 1
        assert (height, width) == (60, 80) or 0.5 <= height / width <= 2
        assert results['gt_bboxes'].is_inside((height, width), all_inside=True).all()
    assert 5 < whole < 40


def test_affine_drops_what_left_and_fills():
    affine = RandomAffine(max_translate_ratio=0.5, scaling_ratio_range=(1, 1), max_rotate_degree=0, max_shear_degree=0)
    outcomes = [affine(sample(boxes=[[0, 0, 10, 10], [30, 20, 50, 40]])) for _ in range(30)]
    assert {len(results['gt_bboxes']) for results in outcomes} == {1, 2}
    assert any((results['img'] == 114).all(-1).any() for results in outcomes)
    assert shape_after(RandomAffine(border=(-20, -10))) == (40, 40)
    with pytest.raises(ValueError, match=r'border=\(-40, -40\) leaves nothing'):
        RandomAffine(border=(-40, -40))(sample())
