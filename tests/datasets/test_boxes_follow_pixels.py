"""Objects are painted and annotated, both go through a transform, and what is then seen is what is then annotated.

Every registered transform is in one of the tables below; a new one has to be put there.
"""

import copy
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures import HorizontalBoxes, PolygonMasks

FLIP = dict(type='RandomFlip', prob=1.0)
SHIFT = dict(type='TranslateX', prob=1.0, max_mag=0.3)
# Transforms that move pixels, with arguments of each way that they have.
MOVES = {
    'CenterCrop': [dict(crop_size=(50, 40)), dict(crop_size=(90, 70), auto_pad=True)],
    'Compose': [dict(transforms=[FLIP, SHIFT])],
    'AutoAugment': [dict(policies=[[FLIP, SHIFT], [SHIFT]])],
    'Expand': [dict(prob=1.0, mean=(7, 7, 7))],
    'CategoryAreaCrop': [dict(crop_size=(50, 40), single_category_max_area=0.8)],
    'FixedSizeCrop': [dict(crop_size=(50, 40)), dict(crop_size=(120, 60)), dict(crop_size=(120, 110))],
    'RandomExtent': [dict(scale_range=(0.6, 1.5), shift_range=(0.3, 0.3))],
    'RandomRotation': [
        dict(angle=(-60, 60)),
        dict(angle=[45, 90, 120], sample_style='choice'),
        dict(angle=(-30, 30), expand=False, center=((0.3, 0.3), (0.7, 0.7))),
    ],
    'FixScaleResize': [dict(scale=(133, 90), keep_ratio=True), dict(scale_factor=1.5, keep_ratio=True)],
    'FixShapeResize': [dict(width=100, height=100, keep_ratio=True), dict(width=90, height=120)],
    'MinIoURandomCrop': [dict()],
    'Pad': [
        dict(size_divisor=32, pad_val=dict(img=(3, 4, 5), seg=255, masks=0)),
        dict(size=(120, 110)),
        dict(pad_to_square=True, pad_val=114),
    ],
    'ProposalBroadcaster': [dict(transforms=[FLIP, SHIFT])],
    'RandAugment': [dict(aug_space=[[FLIP], [SHIFT], [dict(type='Rotate')]])],
    'RandomAffine': [
        dict(max_rotate_degree=0, max_shear_degree=0),
        dict(max_rotate_degree=40, max_shear_degree=10, border=(60, 60)),
    ],
    'RandomApply': [dict(transforms=[FLIP, SHIFT])],
    'RandomCenterCropPad': [dict(crop_size=(64, 64), ratios=(0.8, 1.2), mean=(0, 0, 0), std=(1, 1, 1), to_rgb=True)],
    'RandomChoice': [dict(transforms=[[FLIP], [SHIFT]])],
    'RandomChoiceResize': [dict(scales=[(50, 90), (120, 60)]), dict(scales=[(120, 90)], keep_ratio=True)],
    'RandomCrop': [
        dict(crop_size=(50, 40), allow_negative_crop=True),
        dict(crop_size=(30, 70), crop_type='absolute_range', allow_negative_crop=True),
        dict(crop_size=(0.5, 0.7), crop_type='relative', allow_negative_crop=True),
        dict(crop_size=(0.4, 0.4), crop_type='relative_range', recompute_bbox=True),
    ],
    'RandomFlip': [dict(prob=1.0, direction=way) for way in ('horizontal', 'vertical', 'diagonal')],
    'RandomOrder': [dict(transforms=[FLIP, SHIFT])],
    'RandomResize': [
        dict(scale=(100, 100), ratio_range=(0.6, 2.0), keep_ratio=True),
        dict(scale=[(90, 70), (160, 100)], keep_ratio=False, backend='pillow'),
    ],
    'RandomShift': [dict(prob=1.0, max_shift_px=30)],
    'Resize': [
        dict(scale=(130, 70)),
        dict(scale=(133, 80), keep_ratio=True, interpolation='area'),
        dict(scale_factor=(0.7, 1.4), backend='pillow'),
    ],
    'ResizeShortestEdge': [dict(scale=70, max_size=90)],
    'Rotate': [dict(level=5), dict(max_mag=90.0)],
    'ShearX': [dict()],
    'ShearY': [dict(min_mag=10.0, reversal_prob=1.0)],
    'TranslateX': [dict(max_mag=0.4)],
    'TranslateY': [dict(max_mag=0.4, img_border_value=(9, 9, 9))],
    'Albu': [
        dict(transforms=[dict(type='Affine', rotate=(-30, 30), scale=(0.8, 1.1), p=1.0)]),
        dict(transforms=[dict(type='D4', p=1.0), dict(type='RandomCrop', height=40, width=40, p=1.0)]),
    ],
}
MIXES = {
    'CachedMixUp': dict(img_scale=(80, 60), max_cached_images=4, random_pop=False),
    'CachedMosaic': dict(img_scale=(80, 60), max_cached_images=4, random_pop=False),
    'CopyPaste': dict(mask_occluded_thr=0, selected=False),
    'MixUp': dict(img_scale=(80, 60)),
    'Mosaic': dict(img_scale=(80, 60)),
}
# Objects under a patch are hidden, so that boxes are not those of what is left.
HIDES = {'RandomErasing': dict(n_patches=(1, 3), ratio=(0.1, 0.4))}
RECOLORS = {
    **{name: dict() for name in ('AutoContrast', 'Brightness', 'Color', 'ColorTransform', 'Contrast', 'Equalize')},
    **{name: dict() for name in ('Invert', 'PhotoMetricDistortion', 'Posterize', 'Sharpness', 'Solarize')},
    **{name: dict() for name in ('SolarizeAdd', 'YOLOXHSVRandomAug')},
    **{name: dict(intensity_min=0.5, intensity_max=1.5) for name in ('RandomBrightness', 'RandomContrast')},
    'RandomSaturation': dict(intensity_min=0.0, intensity_max=2.0),
    'RandomLighting': dict(scale=0.5),
    'Corrupt': dict(corruption='motion_blur'),
    'CutOut': dict(n_holes=3, cutout_shape=(8, 8)),
    'Normalize': dict(mean=(1, 2, 3), std=(4, 5, 6)),
    'RandomGrayscale': dict(prob=1.0),
}
# They load, pack, filter, or only hold others that are looked at here.
OTHERS = {
    *('ConvertBoxType', 'FilterAnnotations', 'ImageToTensor', 'InferencerLoader', 'LoadAnnotations', 'MultiBranch'),
    *('LoadEmptyAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray', 'LoadImageFromWebcam', 'LoadProposals'),
    *('LoadMaskPoints', 'LoadMultiChannelImageFromFiles', 'LoadPanopticAnnotations', 'LoadTrackAnnotations'),
    *('PackDetInputs', 'LoadStuffMap', 'BoxesFromMasks'),
    *('PackTrackInputs', 'TestTimeAug', 'ToTensor', 'TransformBroadcaster', 'Transpose', 'UniformRefFrameSample'),
    'RecordWarps',
    'SegRescale',  # a label map may be smaller than its picture
    'InstaBoost',  # works on records; see test_transforms_more.py
}
EXTRAS = {'Albu': 'albumentations', 'Corrupt': 'imagecorruptions'}
COLORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
quick = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**31)


def cases(table):
    every = [(name, arguments) for name, given_ in table.items() for arguments in given_]
    return pytest.mark.parametrize(('name', 'arguments'), every, ids=[f'{n}-{i}' for i, (n, _) in enumerate(every)])


def built(name, arguments):
    if name in EXTRAS and find_spec(EXTRAS[name]) is None:
        pytest.skip(f'{EXTRAS[name]} is not installed')
    return TRANSFORMS.build(dict(type=name, **arguments))


@st.composite
def layouts(draw):
    """(h, w) of an image and up to 3 boxes, each in a quarter of its own."""
    height, width = draw(st.integers(50, 90)), draw(st.integers(50, 90))
    count = draw(st.integers(1, 3))
    boxes = []
    for quarter in draw(st.permutations(range(4)))[:count]:
        top, left = quarter // 2 * (height // 2), quarter % 2 * (width // 2)
        x1, y1 = left + draw(st.integers(0, 10)), top + draw(st.integers(0, 10))
        x2 = draw(st.integers(x1 + 8, left + width // 2 - 1))
        y2 = draw(st.integers(y1 + 8, top + height // 2 - 1))
        boxes.append([x1, y1, x2, y2])
    return (height, width), np.array(boxes, np.float32)


def paint(size, boxes, labels, kind='bitmap'):
    """A sample of rectangles in the colors of their labels, which are all else that it holds, too."""
    img = np.zeros((*size, 3), np.uint8)
    seg = np.zeros(size, np.uint8)
    for label, (x1, y1, x2, y2) in zip(labels, boxes.astype(int)):
        img[y1:y2, x1:x2] = 255 * COLORS[label]
        seg[y1:y2, x1:x2] = label + 1
    x1, y1, x2, y2 = boxes.T
    corners = np.stack([np.stack(pair, -1) for pair in ((x1, y1), (x2, y1), (x1, y2), (x2, y2))], 1)
    masks = PolygonMasks([[outline] for outline in corners[:, [0, 1, 3, 2]].reshape(-1, 8)], *size)
    return {
        'img': img,
        'img_shape': size,
        'ori_shape': size,
        'gt_bboxes': HorizontalBoxes(boxes),
        'gt_bboxes_labels': np.array(labels),
        'gt_ignore_flags': np.array(labels) == 1,
        'gt_masks': masks if kind == 'polygon' else masks.to_bitmap(),
        'gt_keypoints': np.concatenate([corners, np.full((len(boxes), 4, 1), 2)], -1).astype(np.float32),
        'gt_seg_map': seg,
        'flip_indices': [1, 0, 3, 2],
        'proposals': HorizontalBoxes(boxes),
        'proposals_scores': np.linspace(1, 0.5, len(boxes)),
    }


def grown(mask, pixels):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)).astype(bool)


def shrunk(mask, pixels):
    # beyond the picture there is no object, too: an edge may lie within its last pixel
    return ~grown(np.pad(~mask, pixels, constant_values=True), pixels)[pixels:-pixels, pixels:-pixels]


def check_pixels(results, full=255, slack=1):
    """Each annotated mask is where its color is, to ``slack`` pixels; so is the label map."""
    labels = results['gt_bboxes_labels']
    masks = results['gt_masks'].to_ndarray().astype(bool)
    shown = results['img'] > full / 2
    assert results['img_shape'] == results['img'].shape[:2] == masks.shape[1:] == results['gt_seg_map'].shape
    for label in np.unique(labels):
        mask = masks[labels == label].any(axis=0)
        others = grown(masks[labels != label].any(axis=0) | slivers(results), slack)
        color = (shown == COLORS[label].astype(bool)).all(-1)
        # of each object alone: where two of a color meet in a blend, their edges are between them
        core = np.any([shrunk(own, slack) for own in masks[labels == label]], axis=0)
        assert not (core & ~color & ~others).any(), 'annotated, not seen'
        assert not (color & ~grown(mask, slack) & ~others).any(), 'seen, not annotated'
        if full == 255:  # a blend has the label map of one of its pictures
            assert not (core & (results['gt_seg_map'] != label + 1)).any()


def slivers(results):
    """The pixels that objects of less than a pixel touch, which have no mask but may be seen."""
    touched = np.zeros(results['img_shape'], bool)
    for (x1, y1, x2, y2), mask in zip(results['gt_bboxes'].numpy(), results['gt_masks'].to_ndarray()):
        if not mask.any():
            touched[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
    return touched


def check_boxes(results, slack=1, tight=True):
    """Boxes hold the pixels of their masks, and those of whole objects hold no more if they are ``tight``."""
    boxes = results['gt_bboxes'].numpy()
    height, width = results['img_shape']
    assert np.all(boxes >= -1e-3) and np.all(boxes <= np.array([width, height, width, height]) + 1e-3)
    for box, mask, points in zip(boxes, results['gt_masks'].to_ndarray(), results['gt_keypoints']):
        if not mask.any():
            assert min(box[2] - box[0], box[3] - box[1]) < 2  # a sliver between pixels
            continue
        ys, xs = np.nonzero(mask)
        extent = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        sign = np.array([1, 1, -1, -1])
        assert np.all(sign * (box - extent) <= slack + 0.01), 'a part of the object lies outside its box'
        if tight and (points[:, 2] == 2).all():
            hull = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
            assert box == pytest.approx(hull, abs=slack + 0.01)
            assert box == pytest.approx(extent, abs=slack + 1.01)


def test_every_transform_is_in_a_table_here():
    TRANSFORMS.import_from_location()
    ours = {name for name, cls in TRANSFORMS.module_dict.items() if 'datasets.transforms' in cls.__module__}
    tables = [set(table) for table in (MOVES, MIXES, HIDES, RECOLORS, OTHERS)]
    assert set().union(*tables) == ours
    assert sum(map(len, tables)) == len(ours)


@cases(MOVES)
@quick
@given(layouts(), seeds, st.sampled_from(['bitmap', 'polygon']))
def test_annotations_follow_pixels(name, arguments, layout, seed, kind):
    size, boxes = layout
    transform = built(name, arguments)
    np.random.seed(seed)
    results = transform(paint(size, boxes, range(len(boxes)), kind))
    if results is None:  # a crop that found nothing
        assert name == 'RandomCrop' and not arguments.get('allow_negative_crop')
        return
    in_a_row = name in ('AutoAugment', 'RandAugment')
    slack = 2 if in_a_row else 1  # each warp rounds
    check_pixels(results, slack=slack)
    check_boxes(results, slack, tight=not in_a_row)  # what is around a turned box may be turned again
    labels = results['gt_bboxes_labels']
    assert results['gt_ignore_flags'].tolist() == (labels == 1).tolist()
    if not arguments.get('recompute_bbox'):
        assert results['proposals'].numpy() == pytest.approx(results['gt_bboxes'].numpy(), abs=1e-3)
        assert len(results['proposals_scores']) == len(labels)


@pytest.mark.parametrize('name', MIXES)
@quick
@given(layouts(), st.lists(layouts(), min_size=3, max_size=3), seeds)
def test_annotations_of_mixed_pictures_follow_pixels(name, layout, others, seed):
    size, boxes = layout
    transform = built(name, MIXES[name])
    same_size = name == 'CopyPaste'
    more = [
        paint(size if same_size else other_size, (boxes if same_size else other)[:1], [3 + index])
        for index, (other_size, other) in enumerate(others)
    ]
    sample = paint(size, boxes, range(len(boxes)))
    np.random.seed(seed)
    if name.startswith('Cached'):
        for other in more:
            transform.results_cache.append(copy.deepcopy(other))
    else:
        sample['mix_results'] = more[: transform.num_others]
    results = transform(sample)
    slack = 1
    if 'MixUp' in name:  # resizes twice, and bitmaps are rounded to whole pixels each time
        slack = 2
    check_pixels(results, full=127 if 'MixUp' in name else 255, slack=slack)
    if name != 'CopyPaste':  # what is covered has the keypoints of the whole
        check_boxes(results, slack)


def test_a_picture_mixed_with_itself_follows_pixels():
    # its objects meet those of its shifted copy, which have their colors; a case that was once taken for a fault
    layout = (65, 59), np.array([[0, 9, 16, 17], [29, 41, 45, 57]], np.float32)
    others = [((50, 75), [1, 35, 17, 46]), ((56, 58), [37, 8, 57, 27]), ((68, 81), [44, 36, 58, 45])]
    others = [(size, np.array([box], np.float32)) for size, box in others]
    check = test_annotations_of_mixed_pictures_follow_pixels.hypothesis.inner_test
    check('CachedMixUp', layout, others, 723324246)


@pytest.mark.parametrize('name', HIDES)
@quick
@given(layouts(), seeds)
def test_masks_of_hidden_objects_follow_pixels(name, layout, seed):
    size, boxes = layout
    np.random.seed(seed)
    results = built(name, HIDES[name])(paint(size, boxes, range(len(boxes))))
    labels = results['gt_bboxes_labels']
    shown = results['img'] > 200
    for label, mask in zip(labels, results['gt_masks'].masks.astype(bool)):
        assert np.array_equal(mask, (shown == COLORS[label].astype(bool)).all(-1))
    assert results['gt_bboxes'].numpy() == pytest.approx(boxes[labels])


@pytest.mark.parametrize('name', RECOLORS)
@quick
@given(layouts(), seeds)
def test_colors_change_and_nothing_moves(name, layout, seed):
    size, boxes = layout
    sample = paint(size, boxes, range(len(boxes)))
    np.random.seed(seed)
    results = built(name, RECOLORS[name])(copy.deepcopy(sample))
    assert results['img'].shape[:2] == size == results['img_shape']
    for key in ('gt_seg_map', 'gt_keypoints', 'gt_bboxes_labels', 'gt_ignore_flags'):
        assert np.array_equal(results[key], sample[key])
    assert np.array_equal(results['gt_bboxes'].numpy(), boxes)
    assert np.array_equal(results['gt_masks'].masks, sample['gt_masks'].masks)
    assert 'homography_matrix' not in results
