"""Resizing by Pillow: its own pixels, for every depth and number of channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets.transforms import Resize
from mmdetlike.structures import BitmapMasks, Warp

QUICK = settings(max_examples=20, deadline=None)
sides = st.integers(1, 40)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@QUICK
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.sampled_from(['nearest', 'bilinear', 'box', 'lanczos']))
def test_pixels_are_those_of_pillow(old, new, interpolation):
    img = noise(*old, 3)
    expected = Image.fromarray(img).resize(new[::-1], getattr(Image.Resampling, interpolation.upper()))
    assert np.array_equal(Warp.resize(old, new, interpolation, 'pillow').image(img), np.array(expected))


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_channels_do_not_mix_and_dtypes_stay(channels, dtype):
    img = noise(9, 13, channels).astype(dtype)
    resized = Warp.resize((9, 13), (5, 30), 'bilinear', 'pillow').image(img)
    assert resized.dtype == dtype
    assert resized.shape == (5, 30, channels)
    for channel in range(channels):
        plane = Image.fromarray(img[..., channel].astype(np.float32))
        expected = np.array(plane.resize((30, 5), Image.Resampling.BILINEAR))
        assert np.abs(resized[..., channel] - expected).max() <= 1  # Pillow rounds bytes between its two passes


def test_all_pixels_count_when_an_image_shrinks():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = 255
    by_pillow = Warp.resize((64, 64), (8, 8), 'bilinear', 'pillow').image(stripes)
    by_opencv = Warp.resize((64, 64), (8, 8)).image(stripes)
    assert by_pillow.mean() == pytest.approx(stripes.mean(), abs=4)
    assert by_opencv.mean() == 0  # which looks between the stripes


def test_the_rest_of_a_sample_follows_as_ever():
    sample = {
        'img': noise(40, 60, 3),
        'gt_masks': BitmapMasks(np.ones((1, 40, 60), np.uint8), 40, 60),
        'gt_seg_map': noise(40, 60),
    }
    by_pillow = Resize(scale=(30, 10), backend='pillow', interpolation='box')(dict(sample))
    by_opencv = Resize(scale=(30, 10))(dict(sample))
    assert by_pillow['img'].shape == (10, 30, 3)
    assert by_pillow['scale_factor'] == by_opencv['scale_factor'] == (0.5, 0.25)
    assert np.array_equal(by_pillow['gt_masks'].masks, by_opencv['gt_masks'].masks)
    assert np.array_equal(by_pillow['gt_seg_map'], by_opencv['gt_seg_map'])


def test_each_backend_has_its_interpolations():
    with pytest.raises(ValueError, match=r"interpolation='area' is unknown; expected one of nearest, .*hamming"):
        Resize(scale=5, backend='pillow', interpolation='area')
    with pytest.raises(ValueError, match="backend='turbo' is unknown; expected one of cv2, pillow"):
        Resize(scale=5, backend='turbo')
