"""Steps whose sample lacks what they need, and samples that have little."""

import numpy as np
import pytest

from mmdetlike.datasets.transforms import (
    CachedMixUp,
    CachedMosaic,
    CopyPaste,
    Expand,
    FilterAnnotations,
    FixShapeResize,
    LoadAnnotations,
    LoadImageFromFile,
    LoadImageFromNDArray,
    LoadPanopticAnnotations,
    LoadProposals,
    MinIoURandomCrop,
    MixUp,
    Mosaic,
    PackDetInputs,
    Pad,
    PhotoMetricDistortion,
    RandomAffine,
    RandomCenterCropPad,
    RandomChoiceResize,
    RandomCrop,
    RandomFlip,
    RandomResize,
    RandomShift,
    Resize,
    TestTimeAug,
    YOLOXHSVRandomAug,
)
from mmdetlike.datasets.transforms.instances import FIELDS, GEOMETRIC_FIELDS, INSTANCE_FIELDS, PACKED_NAMES
from mmdetlike.errors import ConfigError
from mmdetlike.structures import BitmapMasks, HorizontalBoxes

ALL = {
    'LoadImageFromFile': LoadImageFromFile(),
    'LoadImageFromNDArray': LoadImageFromNDArray(),
    'LoadAnnotations': LoadAnnotations(with_seg=True),
    'LoadPanopticAnnotations': LoadPanopticAnnotations(),
    'LoadProposals': LoadProposals(),
    'FilterAnnotations': FilterAnnotations(),
    'PhotoMetricDistortion': PhotoMetricDistortion(),
    'YOLOXHSVRandomAug': YOLOXHSVRandomAug(),
    'Mosaic': Mosaic(),
    'MixUp': MixUp(),
    'CopyPaste': CopyPaste(),
    'CachedMosaic': CachedMosaic(),
    'CachedMixUp': CachedMixUp(),
}
GEOMETRIC = {
    'Expand': Expand(prob=1.0),
    'FixShapeResize': FixShapeResize(30, 30),
    'MinIoURandomCrop': MinIoURandomCrop(),
    'Pad': Pad(size_divisor=32),
    'RandomAffine': RandomAffine(),
    'RandomCenterCropPad': RandomCenterCropPad((20, 20)),
    'RandomChoiceResize': RandomChoiceResize([(30, 30)]),
    'RandomCrop': RandomCrop((10, 10)),
    'RandomFlip': RandomFlip(1.0),
    'RandomResize': RandomResize([(30, 30), (40, 40)]),
    'RandomShift': RandomShift(1.0),
    'Resize': Resize((30, 30)),
}


@pytest.mark.parametrize('transform', ALL.values(), ids=ALL)
def test_what_is_missing_is_named(transform):
    key = transform.needs[0]
    with pytest.raises(
        ConfigError, match=rf'^{type(transform).__name__} needs .*{key}.* has only labels; .*{key} comes'
    ):
        transform(dict(labels=[], img_path=None))


def test_masks_for_a_filter():
    sample = dict(gt_bboxes=HorizontalBoxes([[0.0, 0.0, 9.0, 9.0]]), img_path='a.png')
    message = r'FilterAnnotations needs gt_masks, but the sample a\.png has only .*LoadAnnotations\(with_mask=True\)'
    with pytest.raises(ConfigError, match=message):
        FilterAnnotations(by_mask=True)(sample)


def test_no_image_at_all():
    for transform in (Resize((30, 30)), RandomCrop((5, 5)), RandomFlip(1.0), Pad(size_divisor=32)):
        with pytest.raises(ConfigError, match=r'The size of an image needs img, .*LoadImageFromFile'):
            transform(dict(gt_bboxes=HorizontalBoxes([[0.0, 0.0, 9.0, 9.0]])))


def background():
    return dict(
        img=np.zeros((40, 60, 3), np.uint8),
        img_shape=(40, 60),
        img_path='a.png',
        gt_bboxes=HorizontalBoxes(np.zeros((0, 4), np.float32)),
        gt_bboxes_labels=np.zeros(0, np.int64),
        gt_ignore_flags=np.zeros(0, bool),
        gt_masks=BitmapMasks([], 40, 60),
        gt_keypoints=np.zeros((0, 2, 3), np.float32),
    )


@pytest.mark.parametrize('channels', [1, 3, 7])
@pytest.mark.parametrize('keys', ['all', 'image only'])
@pytest.mark.parametrize('transform', GEOMETRIC.values(), ids=GEOMETRIC)
def test_pictures_without_objects_pass(transform, keys, channels):
    np.random.seed(0)
    for _ in range(10):
        sample = background() if keys == 'all' else dict(img=np.zeros((40, 60, 3), np.uint8), img_shape=(40, 60))
        sample['img'] = np.zeros((40, 60, channels), np.uint8)
        moved = transform(sample)
        assert moved is not None
        assert moved['img'].shape == (*moved['img_shape'], channels)
        if keys == 'all':
            assert len(moved['gt_bboxes']) == len(moved['gt_masks']) == len(moved['gt_keypoints']) == 0
            assert moved['gt_masks'].size == moved['img_shape']


def test_a_filter_passes_the_background():
    assert FilterAnnotations(by_mask=True)(background()) is not None


def test_one_version_without_objects_gives_a_tested_sample_up():
    sample = background() | dict(gt_bboxes=HorizontalBoxes([[0.0, 0.0, 2.0, 2.0]]))
    sample = {key: sample[key] for key in ('img', 'img_shape', 'gt_bboxes')}
    assert TestTimeAug([[FilterAnnotations((5, 5)), RandomFlip(0.0)], [PackDetInputs()]])(sample) is None


def test_one_table_tells_of_all_fields():
    keys = [field.key for field in FIELDS]
    assert len(set(keys)) == len(keys)
    assert {*GEOMETRIC_FIELDS, *INSTANCE_FIELDS, *PACKED_NAMES} == set(keys)
    assert set(PACKED_NAMES) <= set(INSTANCE_FIELDS)
