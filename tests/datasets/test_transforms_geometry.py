"""What must hold for every geometric transform: all kinds of data move alike."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.datasets.transforms import PackDetInputs
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures import BitmapMasks, HorizontalBoxes, PolygonMasks, map_back, project_boxes

SIZE = (60, 80)
BOXES = np.array([[4, 6, 30, 28], [40, 10, 70, 50], [0, 35, 20, 60], [60, 0, 80, 9]], dtype=np.float32)
CONFIGS = {
    'resize': {'type': 'Resize', 'scale': (130, 70)},
    'resize-ratio': {'type': 'Resize', 'scale': (133, 80), 'keep_ratio': True},
    'resize-factor': {'type': 'Resize', 'scale_factor': (0.7, 1.4)},
    'fix-shape': {'type': 'FixShapeResize', 'width': 100, 'height': 100, 'keep_ratio': True},
    'random-resize': {'type': 'RandomResize', 'scale': (100, 100), 'ratio_range': (0.6, 2.0), 'keep_ratio': True},
    'choice-resize': {'type': 'RandomChoiceResize', 'scales': [(50, 90), (120, 60)]},
    'flip-h': {'type': 'RandomFlip', 'prob': 1.0},
    'flip-v': {'type': 'RandomFlip', 'prob': 1.0, 'direction': 'vertical'},
    'flip-any': {'type': 'RandomFlip', 'prob': 0.9, 'direction': ['horizontal', 'vertical', 'diagonal']},
    'pad': {'type': 'Pad', 'size_divisor': 32},
    'expand': {'type': 'Expand', 'mean': (1, 2, 3), 'prob': 1.0},
    'shift': {'type': 'RandomShift', 'prob': 1.0, 'max_shift_px': 30},
    'crop': {'type': 'RandomCrop', 'crop_size': (50, 40), 'allow_negative_crop': True},
    'crop-range': {'type': 'RandomCrop', 'crop_size': (30, 70), 'crop_type': 'absolute_range'},
    'crop-relative': {'type': 'RandomCrop', 'crop_size': (0.5, 0.7), 'crop_type': 'relative'},
    'crop-recompute': {
        'type': 'RandomCrop',
        'crop_size': (0.4, 0.4),
        'crop_type': 'relative_range',
        'recompute_bbox': True,
    },
    'crop-iou': {'type': 'MinIoURandomCrop'},
    'affine': {'type': 'RandomAffine', 'max_rotate_degree': 0, 'max_shear_degree': 0, 'border_val': (9, 9, 9)},
    'affine-rotated': {'type': 'RandomAffine', 'max_rotate_degree': 40, 'max_shear_degree': 10, 'border': (120, 120)},
}
every_transform = pytest.mark.parametrize('name', CONFIGS)
quick = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**31)


def corners(boxes):
    x1, y1, x2, y2 = boxes.T
    return np.stack([np.stack([x1, y1], -1), np.stack([x2, y1], -1), np.stack([x1, y2], -1), np.stack([x2, y2], -1)], 1)


def make_sample(kind='bitmap', boxes=BOXES):
    """Rectangles of one color each, which are also the masks, and whose corners are the keypoints."""
    seg = np.zeros(SIZE, np.uint8)
    for label, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        seg[y1:y2, x1:x2] = 50 * (label + 1)
    outlines = corners(boxes)[:, [0, 1, 3, 2]].reshape(-1, 8)
    masks = PolygonMasks([[outline] for outline in outlines], *SIZE)
    visibility = np.full((len(boxes), 4, 1), 2, np.float32)
    return {
        'img': np.repeat(seg[..., None], 3, axis=2),
        'img_shape': SIZE,
        'ori_shape': SIZE,
        'gt_bboxes': HorizontalBoxes(boxes),
        'gt_bboxes_labels': np.arange(len(boxes)),
        'gt_ignore_flags': np.arange(len(boxes)) == 2,
        'gt_masks': masks if kind == 'polygon' else masks.to_bitmap(),
        'gt_keypoints': np.concatenate([corners(boxes), visibility], -1).astype(np.float32),
        'gt_seg_map': seg,
        'flip_indices': [1, 0, 3, 2],
        'proposals': HorizontalBoxes(boxes + 0.5),
        'proposals_scores': np.linspace(1, 0.5, len(boxes)),
    }


def apply(name, seed, kind='bitmap', **kwargs):
    np.random.seed(seed)
    transform = TRANSFORMS.build(CONFIGS[name])
    return transform(make_sample(kind, **kwargs))


@every_transform
@quick
@given(seeds, st.sampled_from(['bitmap', 'polygon']))
def test_boxes_are_those_of_the_masks(name, seed, kind):
    results = apply(name, seed, kind)
    if results is None:
        return
    boxes = results['gt_bboxes'].tensor.numpy()
    of_masks = results['gt_masks'].get_bboxes().tensor.numpy()
    tolerance = 1.0 if kind == 'bitmap' else 1e-3
    # A sliver narrower than a pixel may miss the pixels' centres.
    wide = results['gt_masks'].areas > 0
    if name == 'affine-rotated':  # the box of a cut mask is smaller than the cut box
        wide &= (results['gt_keypoints'][..., 2] == 2).all(1)
    assert name == 'affine-rotated' or np.all(
        wide | (results['gt_bboxes'].areas.numpy() < 2 * max(results['img_shape']))
    )
    assert np.abs(boxes - of_masks)[wide].max(initial=0) <= tolerance


@every_transform
@quick
@given(seeds)
def test_everything_stays_in_step(name, seed):
    results = apply(name, seed)
    if results is None:
        return
    size = results['img'].shape[:2]
    labels = results['gt_bboxes_labels']
    assert results['img_shape'] == size == results['gt_seg_map'].shape == results['gt_masks'].size
    lengths = {len(results[key]) for key in ('gt_bboxes', 'gt_ignore_flags', 'gt_masks', 'gt_keypoints')}
    assert lengths == {len(labels)}
    assert results['gt_ignore_flags'].tolist() == (labels == 2).tolist()
    assert len(results['proposals']) == len(results['proposals_scores'])
    for label, mask in zip(labels, results['gt_masks'].masks):
        inside = mask.astype(bool)
        # Labels overlap nowhere, so that the label map and the inner part of the image show the same thing.
        assert np.all(results['gt_seg_map'][inside] == 50 * (label + 1))
        assert not inside.any() or np.median(results['img'][inside]) == 50 * (label + 1) or inside.sum() < 60


@every_transform
@quick
@given(seeds)
def test_homography_tells_where_everything_went(name, seed):
    results = apply(name, seed)
    if results is None or 'homography_matrix' not in results:
        return
    original = torch.from_numpy(BOXES[results['gt_bboxes_labels']])
    moved = HorizontalBoxes(project_boxes(original, results['homography_matrix']))
    moved.clip_(results['img_shape'])
    tolerance = 1.0 if CONFIGS[name].get('recompute_bbox') else 1e-3
    assert torch.allclose(moved.tensor, results['gt_bboxes'].tensor, atol=tolerance)
    points = results['gt_keypoints']
    whole = (points[..., 2] == 2).all(1)
    hull = np.concatenate([points[whole, :, :2].min(1), points[whole, :, :2].max(1)], -1)
    assert hull == pytest.approx(moved.tensor.numpy()[whole], abs=1e-3)


@every_transform
@quick
@given(seeds)
def test_predictions_map_back(name, seed):
    results = apply(name, seed)
    if results is None or 'homography_matrix' not in results:
        return
    labels = results['gt_bboxes_labels']
    whole = (results['gt_keypoints'][..., 2] == 2).all(1)
    instances = PackDetInputs()(results)['data_samples'].gt_instances
    ignored = results['gt_ignore_flags']
    back = map_back(instances, results['homography_matrix'], SIZE)
    original = BOXES[labels[~ignored]]
    if CONFIGS[name]['type'] != 'RandomAffine' and not CONFIGS[name].get('recompute_bbox'):
        assert back.bboxes.tensor.numpy()[whole[~ignored]] == pytest.approx(original[whole[~ignored]], abs=1e-3)
    points = back.keypoints.numpy()[whole[~ignored], :, :2]
    expected = corners(original)[whole[~ignored]]
    if results.get('flip_direction') in ('horizontal', 'vertical'):
        expected = expected[:, [1, 0, 3, 2]]
    assert points == pytest.approx(expected, abs=1e-3)


@every_transform
def test_polygons_and_bitmaps_agree(name):
    for seed in range(5):
        as_bitmaps, as_polygons = apply(name, seed), apply(name, seed, 'polygon')
        if as_bitmaps is None or CONFIGS[name].get('recompute_bbox'):
            continue
        assert as_bitmaps['gt_bboxes_labels'].tolist() == as_polygons['gt_bboxes_labels'].tolist()
        assert np.array_equal(as_bitmaps['img'], as_polygons['img'])
        difference = as_bitmaps['gt_masks'].masks != as_polygons['gt_masks'].to_ndarray()
        outline = 2 * (as_bitmaps['gt_bboxes'].widths + as_bitmaps['gt_bboxes'].heights).numpy() + 4
        assert np.all(difference.sum((1, 2)) <= 0.75 * outline)


@every_transform
@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
def test_images_without_objects(name, kind):
    for seed in range(4):
        results = apply(name, seed, kind, boxes=np.zeros((0, 4), np.float32))
        if results is None:
            assert CONFIGS[name]['type'] == 'RandomCrop'
            assert not CONFIGS[name].get('allow_negative_crop')
            continue
        packed = PackDetInputs()(results)
        assert len(packed['data_samples'].gt_instances) == 0
        assert packed['data_samples'].gt_instances.bboxes.shape == (0, 4)
        assert packed['data_samples'].gt_instances.keypoints.shape == (0, 4, 3)
        assert packed['inputs'].shape == (3, *results['img_shape'])


@every_transform
def test_an_image_alone(name):
    np.random.seed(0)
    results = TRANSFORMS.build(CONFIGS[name])({'img': np.zeros((*SIZE, 3), np.uint8), 'img_shape': SIZE})
    assert results['img'].shape[:2] == results['img_shape']


@every_transform
def test_inputs_are_left_alone(name):
    """A dataset may keep what it hands out, so no transform may write into it."""
    np.random.seed(0)
    sample = make_sample()
    given = dict(sample)
    TRANSFORMS.build(CONFIGS[name])(sample)
    untouched = make_sample()
    for key in ('img', 'gt_seg_map', 'gt_keypoints', 'gt_bboxes_labels'):
        assert np.array_equal(given[key], untouched[key])
    assert torch.equal(given['gt_bboxes'].tensor, untouched['gt_bboxes'].tensor)


@every_transform
def test_same_seed_same_result(name):
    first, second = apply(name, 7), apply(name, 7)
    assert (first is None) == (second is None)
    assert first is None or np.array_equal(first['img'], second['img'])


def test_transforms_tell_their_settings():
    assert repr(TRANSFORMS.build({'type': 'RandomShift'})) == 'RandomShift(prob=0.5, max_shift_px=32, filter_thr_px=1)'


def test_bitmaps_are_bitmaps_still():
    assert isinstance(apply('crop', 0)['gt_masks'], BitmapMasks)
