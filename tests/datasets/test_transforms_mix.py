"""Mosaic, MixUp and their relatives: what lands where, and that labels go along."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.datasets.transforms import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic
from mmdetlike.errors import ConfigError
from mmdetlike.structures import BitmapMasks, HorizontalBoxes, PolygonMasks


def sample(value, size=(40, 60), boxes=((10, 5, 50, 35),), label=0, masks=None):
    """An image of one grey, brighter by 100 within its boxes, with masks that are those boxes."""
    img = np.full((*size, 3), value, np.uint8)
    bitmaps = np.zeros((len(boxes), *size), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(bitmaps, boxes):
        mask[y1:y2, x1:x2] = 1
        img[y1:y2, x1:x2] = value + 100
    results = dict(
        img=img,
        img_shape=size,
        gt_bboxes=HorizontalBoxes(np.array(boxes, np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.full(len(boxes), label, np.int64),
        gt_ignore_flags=np.zeros(len(boxes), bool),
    )
    if masks == 'bitmap':
        results['gt_masks'] = BitmapMasks(bitmaps, *size)
    elif masks == 'polygon':
        corners = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2], float)] for x1, y1, x2, y2 in boxes]
        results['gt_masks'] = PolygonMasks(corners, *size)
    return results


def in_the_middle(monkeypatch):
    """Every number that is drawn lies in the middle of its range."""
    monkeypatch.setattr(np.random, 'uniform', lambda low=0.0, high=1.0, size=None: (low + high) / 2)
    monkeypatch.setattr(
        np.random, 'randint', lambda low, high=None, size=None: (low if high is None else low + high) // 2
    )


@pytest.mark.parametrize('masks', [None, 'bitmap', 'polygon'])
def test_mosaic_puts_four_images_around_the_point(monkeypatch, masks):
    in_the_middle(monkeypatch)
    results = sample(10, label=0, masks=masks)
    results['mix_results'] = [sample(10 * k, label=k, masks=masks) for k in (2, 3, 4)]
    results['gt_seg_map'] = np.zeros((40, 60), np.uint8)
    for k, other in enumerate(results['mix_results'], 1):
        other['gt_seg_map'] = np.full((40, 60), k, np.uint8)
    out = Mosaic(img_scale=(60, 50), pad_val=7)(results)
    # images keep their size, the point is (60, 50) on a canvas of 120 x 100
    assert out['img'].shape == (100, 120, 3) and out['img_shape'] == (100, 120)
    corners = [out['img'][49, 59, 0], out['img'][49, 60, 0], out['img'][50, 59, 0], out['img'][50, 60, 0]]
    assert corners == [10, 20, 30, 40] and out['img'][0, 0, 0] == out['img'][99, 119, 0] == 7
    expected = [[10, 15, 50, 45], [70, 15, 110, 45], [10, 55, 50, 85], [70, 55, 110, 85]]
    assert out['gt_bboxes'].tensor.tolist() == expected
    assert out['gt_bboxes_labels'].tolist() == [0, 2, 3, 4]
    assert out['gt_seg_map'][[9, 49, 49, 50, 50], [0, 59, 60, 59, 60]].tolist() == [255, 0, 1, 2, 3]
    for box, grey in zip(expected, (110, 120, 130, 140)):
        assert (out['img'][box[1] : box[3], box[0] : box[2]] == grey).all()
    if masks:
        torch.testing.assert_close(out['gt_masks'].get_bboxes().tensor, torch.tensor(expected, dtype=torch.float32))


def test_mosaic_cuts_at_the_canvas_and_drops_what_is_outside(monkeypatch):
    monkeypatch.setattr(np.random, 'uniform', lambda low=0.0, high=1.0, size=None: low)
    boxes = ((0, 0, 5, 5), (10, 5, 50, 35))
    results = sample(10, boxes=boxes)
    results['mix_results'] = [sample(20, boxes=()), sample(30, boxes=()), sample(40, boxes=())]
    out = Mosaic(img_scale=(60, 40), center_ratio_range=(0.5, 1.5))(copy.deepcopy(results))
    # the point is (30, 20): of the first image the lower right quarter is left
    assert out['gt_bboxes'].tensor.tolist() == [[0, 0, 20, 15]] and out['gt_bboxes_labels'].tolist() == [0]
    loose = Mosaic(img_scale=(60, 40), bbox_clip_border=False)(results)
    assert loose['gt_bboxes'].tensor.tolist() == [[-20, -15, 20, 15]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90)), min_size=4, max_size=4),
    st.integers(0, 2**31),
)
def test_mosaic_boxes_lie_where_their_pixels_are(sizes, seed):
    np.random.seed(seed)
    samples = []
    for k, (h, w) in enumerate(sizes):
        samples.append(sample(20 * k, (h, w), boxes=((w // 4, h // 4, w // 4 + w // 2, h // 4 + h // 2),), label=k))
    results = samples[0]
    results['mix_results'] = samples[1:]
    out = Mosaic(img_scale=(48, 32), pad_val=255)(results)
    assert out['img'].shape[:2] == (64, 96)
    for (x1, y1, x2, y2), label in zip(out['gt_bboxes'].tensor.tolist(), out['gt_bboxes_labels']):
        assert 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 64
        if min(x2 - x1, y2 - y1) >= 3:
            assert out['img'][int((y1 + y2) / 2), int((x1 + x2) / 2), 0] == 20 * label + 100


@pytest.mark.parametrize('masks', [None, 'bitmap', 'polygon'])
def test_mixup_averages_and_keeps_both(monkeypatch, masks):
    in_the_middle(monkeypatch)
    results = sample(10, size=(40, 60), label=1, masks=masks)
    results['mix_results'] = [sample(50, size=(20, 30), boxes=((5, 5, 20, 15),), label=2, masks=masks)]
    out = MixUp(img_scale=(60, 60), ratio_range=(1, 1), flip_ratio=0, pad_val=114)(results)
    # the other one becomes 60 x 40 pixels, is padded to 60 x 60 and cut at row (60 - 40 + 1) // 2
    assert out['img'].shape == (40, 60, 3)
    assert out['gt_bboxes'].tensor.tolist() == [[10, 5, 50, 35], [10, 0, 40, 20]]
    assert out['gt_bboxes_labels'].tolist() == [1, 2] and len(out['gt_ignore_flags']) == 2
    assert out['img'][39, 0, 0] == (10 + 114) // 2 and out['img'][10, 25, 0] == (110 + 150) // 2
    if masks:
        assert out['gt_masks'].get_bboxes().tensor.tolist() == out['gt_bboxes'].tensor.tolist()


def test_mixup_flips_scales_and_pads(monkeypatch):
    in_the_middle(monkeypatch)
    results = sample(10, size=(50, 80), boxes=())
    results['mix_results'] = [sample(50, size=(20, 30), boxes=((0, 5, 20, 15),), label=2)]
    out = MixUp(img_scale=(30, 30), ratio_range=(1.5, 1.5), flip_ratio=1)(results)
    assert out['gt_bboxes'].tensor.tolist() == [[15, 7.5, 45, 22.5]]
    assert out['img'][49, 79, 0] == (10 + 114) // 2 and out['img'][15, 30, 0] == (10 + 150) // 2


def test_mixup_with_an_image_without_objects_changes_nothing():
    results = sample(10)
    before = results['img'].copy()
    results['mix_results'] = [sample(50, boxes=())]
    out = MixUp(img_scale=(60, 60))(results)
    assert (out['img'] == before).all() and len(out['gt_bboxes']) == 1


def test_mixup_looks_for_objects_without_loading_images():
    class Dataset:
        def __len__(self):
            return 50

        def get_cat_ids(self, index):
            return [1] if index == 7 else []

    np.random.seed(0)
    assert MixUp(max_iters=10000).get_indexes(Dataset()) == [7]
    assert len(MixUp(max_iters=1).get_indexes(Dataset())) == 1
    assert len(Mosaic().get_indexes(Dataset())) == 3


@pytest.mark.parametrize('transform', [Mosaic, MixUp])
def test_probability_and_missing_samples(transform):
    results = sample(10)
    assert transform(prob=0)(results) is results
    with pytest.raises(ValueError, match='MultiImageMixDataset'):
        transform(prob=1)(sample(10))
    with pytest.raises(ValueError, match='img_scale must be'):
        transform(img_scale=(0, 5))
    with pytest.raises(ValueError, match='prob must lie'):
        transform(prob=2)


@pytest.mark.parametrize(('random_pop', 'kept'), [(False, [5, 6, 7, 8, 9]), (True, None)])
def test_cached_mosaic_begins_once_there_are_four(random_pop, kept):
    np.random.seed(0)
    transform = CachedMosaic(img_scale=(60, 40), max_cached_images=5, random_pop=random_pop)
    shapes = [transform(sample(10, label=k))['img'].shape[:2] for k in range(10)]
    assert shapes == [(40, 60)] * 3 + [(80, 120)] * 7
    labels = [int(cached['gt_bboxes_labels'][0]) for cached in transform.results_cache]
    assert len(labels) == 5 and labels[-1] == 9 and (kept is None or labels == kept)
    # what is cached is the sample as it came
    assert all(
        cached['img'].shape == (40, 60, 3) and len(cached['gt_bboxes']) == 1 for cached in transform.results_cache
    )


def test_cached_mixup():
    np.random.seed(0)
    transform = CachedMixUp(img_scale=(60, 40), ratio_range=(1, 1), max_cached_images=3)
    counts = [len(transform(sample(10, boxes=((0, 0, 60, 40),)))['gt_bboxes']) for _ in range(5)]
    assert counts == [1, 2, 2, 2, 2]
    with pytest.raises(ValueError, match='at least 2, got 1'):
        CachedMixUp(max_cached_images=1)
    with pytest.raises(ValueError, match='at least 4, got 3'):
        CachedMosaic(max_cached_images=3)


@pytest.mark.parametrize('by_box', [False, True])
def test_copy_paste_covers(by_box):
    boxes = ((0, 0, 20, 20), (10, 10, 40, 40))
    results = sample(10, (50, 50), boxes, label=1, masks='bitmap')
    results['mix_results'] = [sample(50, (50, 50), ((15, 0, 50, 50),), label=2, masks='bitmap')]
    out = CopyPaste(selected=False, bbox_occluded_thr=5, mask_occluded_thr=200, paste_by_box=by_box)(results)
    # of the first 15 columns are left: 300 pixels, less the second's none; of the second 5 x 30 pixels: dropped
    assert out['gt_bboxes'].tensor.tolist() == [[0, 0, 15, 20], [15, 0, 50, 50]]
    assert out['gt_bboxes_labels'].tolist() == [1, 2]
    assert out['gt_masks'].areas.tolist() == [300, 35 * 50]
    assert out['img'][25, 20, 0] == 150 and out['img'][5, 5, 0] == 110 and out['img'][45, 5, 0] == 10


def test_copy_paste_chooses_and_refuses():
    np.random.seed(0)
    counts = set()
    for _ in range(30):
        results = sample(10, (50, 50), (), masks='bitmap')
        many = tuple((10 * k, 0, 10 * k + 5, 5) for k in range(5))
        results['mix_results'] = [sample(50, (50, 50), many, masks='bitmap')]
        counts.add(len(CopyPaste(max_num_pasted=3)(results)['gt_bboxes']))
    assert counts == {0, 1, 2, 3}
    results['mix_results'] = [sample(50, (40, 50), masks='bitmap')]
    with pytest.raises(ValueError, match='two images of one size'):
        CopyPaste()(results)


def test_copy_paste_without_masks_pastes_boxes():
    results = sample(10, (50, 50), ((0, 0, 20, 20), (25, 0, 50, 50)))
    results['mix_results'] = [sample(50, (50, 50), ((0, 10, 20, 20),), label=7)]
    out = CopyPaste(selected=False)(results)
    assert out['gt_bboxes'].tensor.tolist() == [[0, 0, 20, 10], [25, 0, 50, 50], [0, 10, 20, 20]]
    assert out['gt_bboxes_labels'].tolist()[-1] == 7
    assert 'gt_masks' not in out
    assert out['img'][15, 5, 0] == 150


@pytest.mark.parametrize('others', [(), ((0, 30, 10, 40),)])
def test_untouched_boxes_stay_where_they_are(others):
    results = sample(10, (50, 50), ((0, 0, 20, 20),))
    results['gt_bboxes'].tensor[:] += 0.25
    results['mix_results'] = [sample(50, (50, 50), others)]
    out = CopyPaste(selected=False)(results)
    assert out['gt_bboxes'].tensor.tolist() == [[0.25, 0.25, 20.25, 20.25], *map(list, others)]
    assert 'gt_masks' not in out


def test_samples_that_do_not_fit_together_are_named():
    results = sample(10, (50, 50), masks='bitmap') | dict(img_path='a.png')
    results['mix_results'] = [sample(50, (50, 50)) | dict(img_path='b.png')]
    for mix in (CopyPaste(), Mosaic(img_scale=(50, 50)), MixUp(img_scale=(50, 50))):
        results['mix_results'] = [sample(50, (50, 50)) | dict(img_path='b.png') for _ in range(mix.num_others)]
        with pytest.raises(ConfigError, match=r'b\.png cannot be mixed into a\.png, which has gt_masks'):
            mix(dict(results))


@pytest.mark.parametrize('channels', [None, 1, 4, 6])
def test_any_number_of_channels_is_mixed(channels):
    def picture(value):
        results = sample(value, (50, 50))
        gray = results['img'][..., 0]
        results['img'] = gray if channels is None else np.repeat(gray[..., None], channels, axis=2)
        return results

    for mix in (CopyPaste(), Mosaic(img_scale=(50, 50)), MixUp(img_scale=(50, 50))):
        results = picture(10) | dict(mix_results=[picture(50) for _ in range(mix.num_others)])
        out = mix(results)
        assert out['img'].shape[2:] == (() if channels is None else (channels,))
        assert out['img'].dtype == np.uint8


MIXING = [
    Mosaic(img_scale=(60, 50)),
    CachedMosaic(img_scale=(60, 50), max_cached_images=4),
    MixUp(img_scale=(60, 50)),
    CachedMixUp(img_scale=(60, 50), max_cached_images=2),
    CopyPaste(),
]


def mixed(transform, first: dict, other: dict) -> dict:
    """``first`` mixed with copies of ``other``, by way of the cache if the transform has one."""
    count = transform.num_others
    if hasattr(transform, 'results_cache'):
        transform.results_cache = [copy.deepcopy(other) for _ in range(count)]
        transform.get_indexes = lambda cache: range(count)
    else:
        first['mix_results'] = [copy.deepcopy(other) for _ in range(count)]
    return transform(first)


@pytest.mark.parametrize('transform', MIXING, ids=lambda transform: type(transform).__name__)
@pytest.mark.parametrize(
    ('change', 'kinds'),
    [
        (lambda img: img.astype(np.float32), ('float32 of 3 channels', 'uint8 of 3 channels')),
        (lambda img: img[..., :1], ('uint8 of 1 channels', 'uint8 of 3 channels')),
        (lambda img: img[..., [0, 1, 2, 2]], ('uint8 of 4 channels', 'uint8 of 3 channels')),
    ],
    ids=['type', 'gray', 'four channels'],
)
@pytest.mark.parametrize('swapped', [False, True])
def test_images_of_two_kinds_are_refused(transform, change, kinds, swapped):
    first, other = (dict(sample(10), img_path=name) for name in ('a.png', 'b.png'))
    changed = first if swapped else other
    changed['img'] = change(changed['img'])
    told = kinds[::-1] if swapped else kinds
    with pytest.raises(
        ConfigError, match=rf'b\.png, an image of {told[0]}, cannot be mixed into a\.png, one of {told[1]}'
    ):
        mixed(transform, first, other)


def test_a_label_map_of_one_image_alone_is_refused():
    first, other = (dict(sample(10), img_path=name) for name in ('a.png', 'b.png'))
    first['gt_seg_map'] = np.zeros((40, 60), np.uint8)
    with pytest.raises(ConfigError, match=r'b\.png has no gt_seg_map and cannot be mixed with a\.png, which has one'):
        mixed(Mosaic(img_scale=(60, 50)), first, other)
    first, other = (dict(sample(10), img_path=name) for name in ('a.png', 'b.png'))
    other['gt_seg_map'] = np.zeros((40, 60), np.uint8)
    with pytest.raises(ConfigError, match=r'a\.png has no gt_seg_map'):
        mixed(Mosaic(img_scale=(60, 50)), first, other)
