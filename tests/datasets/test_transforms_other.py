"""Colors, packing and wrappers."""

import cv2
import numpy as np
import pytest
import torch

from mmdetlike.datasets.transforms import (
    PackDetInputs,
    PhotoMetricDistortion,
    RandomApply,
    RandomChoice,
    TestTimeAug,
    YOLOXHSVRandomAug,
)
from mmdetlike.errors import ConfigError
from mmdetlike.structures import BitmapMasks, HorizontalBoxes


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


@pytest.fixture
def picture():
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8), (9, 9), 0)


def off():
    return {'brightness_delta': 0, 'contrast_range': (1, 1), 'saturation_range': (1, 1), 'hue_delta': 0}


def outcomes(transform, img, count=60):
    return [transform({'img': img})['img'] for _ in range(count)]


def test_brightness(picture):
    changes = [
        out[..., :].mean() - picture.mean()
        for out in outcomes(PhotoMetricDistortion(**off() | {'brightness_delta': 32}), picture)
    ]
    assert -33 < min(changes) < -15
    assert 15 < max(changes) < 33
    assert 0.3 < np.mean(np.abs(changes) < 1e-9) < 0.7


def test_contrast(picture):
    ratios = [
        out.mean() / picture.mean()
        for out in outcomes(PhotoMetricDistortion(**off() | {'contrast_range': (0.5, 1.5)}), picture)
    ]
    assert 0.48 < min(ratios) < 0.7
    assert 1.25 < max(ratios) < 1.52


def test_saturation_and_hue_keep_the_value(picture):
    distortion = PhotoMetricDistortion(**off() | {'saturation_range': (0.5, 1.5), 'hue_delta': 18})
    outs = outcomes(distortion, picture)
    assert max(np.abs(out.max(-1).astype(int) - picture.max(-1)).max() for out in outs) <= 3
    assert any(np.abs(np.sort(out, -1).astype(int) - np.sort(picture, -1)).mean() > 3 for out in outs)


def test_hue_turns_by_degrees():
    red = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    hues = {out[0, 0].tolist()[1] for out in outcomes(PhotoMetricDistortion(**off() | {'hue_delta': 60}), red)}
    assert max(hues) > 150  # towards yellow: green rises


def test_channels_are_swapped(picture):
    orders = {
        tuple(np.abs(out[..., i].astype(int) - picture[..., j]).sum() == 0 for i in range(3) for j in range(3))
        for out in outcomes(PhotoMetricDistortion(**off()), picture)
    }
    assert len(orders) == 6


def test_distortion_keeps_type_and_leaves_its_input(picture):
    before = picture.copy()
    assert all(out.dtype == np.uint8 for out in outcomes(PhotoMetricDistortion(), picture))
    as_float = outcomes(PhotoMetricDistortion(), picture.astype(np.float32), 5)
    assert all(out.dtype == np.float32 and out.min() >= 0 and out.max() <= 255 for out in as_float)
    assert np.array_equal(picture, before)


def test_yolox_hsv_adds_to_the_value(picture):
    outs = outcomes(YOLOXHSVRandomAug(hue_delta=0, saturation_delta=0, value_delta=30), picture)
    changes = {int(np.median(out.max(-1).astype(int) - picture.max(-1))) for out in outs}
    assert -31 < min(changes) < -15
    assert 15 < max(changes) < 31
    assert 0 in changes


def test_bad_color_settings_are_rejected():
    with pytest.raises(ValueError, match='contrast_range'):
        PhotoMetricDistortion(contrast_range=(1.5, 0.5))
    with pytest.raises(ValueError, match='hue_delta=-1'):
        YOLOXHSVRandomAug(hue_delta=-1)
    with pytest.raises(ValueError, match=r'\(4, 4\)'):
        YOLOXHSVRandomAug()({'img': np.zeros((4, 4), np.uint8)})


def results(picture):
    return {
        'img': picture,
        'img_id': 7,
        'img_shape': (40, 50),
        'ori_shape': (40, 50),
        'gt_bboxes': HorizontalBoxes([[0, 0, 5, 5], [1, 1, 6, 6], [2, 2, 7, 7]]),
        'gt_bboxes_labels': np.array([3, 4, 5]),
        'gt_ignore_flags': np.array([False, True, False]),
        'gt_masks': BitmapMasks(np.arange(3, dtype=np.uint8)[:, None, None].repeat(40, 1).repeat(50, 2), 40, 50),
        'gt_keypoints': np.arange(18, dtype=np.float32).reshape(3, 2, 3),
        'gt_seg_map': np.ones((40, 50), np.uint8),
        'proposals': HorizontalBoxes([[0, 0, 9, 9]]),
        'proposals_scores': np.array([0.5], np.float32),
        'ignore_index': 255,
    }


def test_packing(picture):
    packed = PackDetInputs()(results(picture))
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.dtype == torch.uint8
    assert inputs.is_contiguous()
    assert torch.equal(inputs, torch.from_numpy(picture).permute(2, 0, 1))
    assert sample.gt_instances.labels.tolist() == [3, 5]
    assert isinstance(sample.gt_instances.bboxes, HorizontalBoxes)
    assert sample.gt_instances.bboxes.tensor[:, 0].tolist() == [0, 2]
    assert sample.gt_instances.masks.masks[:, 0, 0].tolist() == [0, 2]
    assert sample.gt_instances.keypoints[:, 0, 0].tolist() == [0, 12]
    assert sample.ignored_instances.labels.tolist() == [4]
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[1, 1, 6, 6]]
    assert sample.gt_sem_seg.sem_seg.shape == (1, 40, 50)
    assert sample.gt_sem_seg.ignore_index == 255
    assert sample.proposals.scores.tolist() == [0.5]
    assert sample.metainfo == {'img_id': 7, 'img_shape': (40, 50), 'ori_shape': (40, 50)}


def test_packing_gray_images_and_meta_keys(picture):
    packed = PackDetInputs(meta_keys=('img_id', 'flip', 'ignore_index'))(results(picture[..., 0]))
    assert packed['inputs'].shape == (1, 40, 50)
    assert packed['data_samples'].metainfo == {'img_id': 7, 'ignore_index': 255}
    with pytest.raises(ConfigError, match=r"PackDetInputs has \['caption'\] in meta_keys"):
        PackDetInputs(meta_keys=('img_id', 'caption'))(results(picture))


FLIP = {'type': 'RandomFlip', 'prob': 1.0}
SMALL = {'type': 'Resize', 'scale': (25, 20)}
LARGE = {'type': 'Resize', 'scale': (100, 80)}


def test_random_apply(picture):
    transform = RandomApply([FLIP, SMALL], prob=0.3)
    done = [transform({'img': picture, 'img_shape': (40, 50)}).get('flip', False) for _ in range(300)]
    assert np.mean(done) == pytest.approx(0.3, abs=0.08)
    assert RandomApply(SMALL, prob=1.0)({'img': picture, 'img_shape': (40, 50)})['img'].shape == (20, 25, 3)
    with pytest.raises(ValueError, match='prob must lie between'):
        RandomApply([FLIP], prob=2)


def test_random_choice(picture):
    transform = RandomChoice([[SMALL], [LARGE, FLIP], FLIP], prob=[0.2, 0.5, 0.3])
    widths = [transform({'img': picture, 'img_shape': (40, 50)})['img'].shape[1] for _ in range(300)]
    assert [np.mean(np.array(widths) == w) for w in (25, 100, 50)] == pytest.approx([0.2, 0.5, 0.3], abs=0.08)
    with pytest.raises(ValueError, match='2 numbers that sum to 1'):
        RandomChoice([[SMALL], [LARGE]], prob=[0.5, 0.6])


def test_test_time_augmentation(picture):
    flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (0.0, 1.0)]
    transform = TestTimeAug([[SMALL, LARGE], flips, [{'type': 'PackDetInputs'}]])
    packed = transform({'img': picture, 'img_shape': (40, 50)})
    assert [tuple(i.shape[1:]) for i in packed['inputs']] == [(20, 25), (20, 25), (80, 100), (80, 100)]
    assert [s.flip for s in packed['data_samples']] == [False, True, False, True]
    assert torch.equal(packed['inputs'][0], packed['inputs'][1].flip(-1))
    with pytest.raises(ValueError, match='list of lists'):
        TestTimeAug([SMALL])
