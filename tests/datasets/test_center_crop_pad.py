"""RandomCenterCropPad."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.datasets.transforms import RandomCenterCropPad
from mmdetlike.structures import HorizontalBoxes


def sample(height, width, boxes):
    boxes = HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    img = np.full((height, width, 3), 7, np.uint8)
    return dict(img=img, img_shape=(height, width), gt_bboxes=boxes, gt_bboxes_labels=np.arange(len(boxes)))


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 10**6))
def test_windows_hold_an_object(height, width, seed):
    np.random.seed(seed)
    box = [width * 0.4, height * 0.4, width * 0.6, height * 0.6]
    crop = RandomCenterCropPad((64, 48), (0.5, 1.0), border=16, mean=(1, 2, 3), to_rgb=True)
    out = crop(sample(height, width, [box]))
    assert out['img'].shape[:2] in ((24, 32), (48, 64)) and out['img_shape'] == out['img'].shape[:2]
    assert len(out['gt_bboxes']) == 1
    x1, y1, x2, y2 = out['gt_bboxes'].tensor[0].tolist()
    assert 0 <= x1 < x2 <= out['img'].shape[1] and 0 <= y1 < y2 <= out['img'].shape[0]
    # inside the box there is image, beyond the image there is the mean, which is BGR here
    assert out['img'][min(int((y1 + y2) / 2), out['img'].shape[0] - 1), int((x1 + x2) / 2)].tolist() == [7, 7, 7]
    pixels = {tuple(pixel) for pixel in out['img'].reshape(-1, 3).tolist()}
    assert pixels <= {(7, 7, 7), (3, 2, 1)}


def test_an_image_without_objects_is_cropped_too():
    assert RandomCenterCropPad((16, 16), (1.0,))(sample(40, 40, []))['img'].shape == (16, 16, 3)


@pytest.mark.parametrize('mode, extra, side', [(('logical_or', 31), 1, (64, 96)), (('size_divisor', 32), 0, (64, 96))])
def test_testing_centres_the_image_on_a_canvas(mode, extra, side):
    crop = RandomCenterCropPad(ratios=None, border=None, test_mode=True, test_pad_mode=mode, test_pad_add_pix=extra)
    out = crop(sample(40, 70, [[1, 2, 3, 4]]))
    assert out['img'].shape[:2] == side
    top, bottom, left, right = out['border'].astype(int)
    assert (top, bottom, left, right) == (12, 52, 13, 83)
    assert (out['img'][top:bottom, left:right] == 7).all() and out['img'].sum() == 40 * 70 * 3 * 7
    assert out['gt_bboxes'].tensor.tolist() == [[14, 14, 16, 16]]


def test_bad_settings():
    with pytest.raises(ValueError, match='Training needs a positive crop_size and ratios, got None'):
        RandomCenterCropPad()
    with pytest.raises(ValueError, match='test_pad_mode must be'):
        RandomCenterCropPad(test_mode=True, test_pad_mode=('reflect', 3))
