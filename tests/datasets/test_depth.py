"""Pictures of more than 8 bits, and of other numbers of channels."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import errors
from mmdetlike.datasets.transforms import (
    ImageError,
    LoadAnnotations,
    LoadImageFromFile,
    LoadImageFromNDArray,
    PackDetInputs,
    PhotoMetricDistortion,
    YOLOXHSVRandomAug,
    decode_image,
)
from mmdetlike.datasets.transforms.depth import to_eight_bits
from mmdetlike.datasets.transforms.image_io import read_label_map
from mmdetlike.errors import ConfigError

RAMP = np.tile(np.linspace(0, 4095, 96).astype(np.uint16), (64, 1))
EIGHT_BITS = np.rint(RAMP * (255 / 4095)).astype(np.uint8)


@pytest.fixture
def warnings(monkeypatch):
    """What is warned of, as in a process that has not warned yet."""
    messages = []
    monkeypatch.setattr(errors, '_warned', set())
    monkeypatch.setattr(errors, 'warn', messages.append)
    return messages


def encode(img, suffix):
    return cv2.imencode(suffix, img)[1].tobytes()


def saved_by_numpy(img):
    buffer = io.BytesIO()
    np.save(buffer, img)
    return buffer.getvalue()


def saved_by_pillow(img):
    buffer = io.BytesIO()
    Image.fromarray(img).save(buffer, 'TIFF')
    return buffer.getvalue()


TWELVE_BITS = {
    'png': encode(RAMP, '.png'),
    'png of 3': encode(np.dstack([RAMP] * 3), '.png'),
    'png of 4': encode(np.dstack([RAMP] * 4), '.png'),
    'tiff': encode(RAMP, '.tiff'),
    'pgm': encode(RAMP, '.pgm'),
    'int32 tiff': saved_by_pillow(RAMP.astype(np.int32)),
    'float32 tiff': saved_by_pillow(RAMP.astype(np.float32)),
    'float64 tiff': encode(RAMP.astype(np.float64), '.tiff'),
    'npy': saved_by_numpy(RAMP),
    'npy of 3': saved_by_numpy(np.dstack([RAMP] * 3)),
    'float64 npy': saved_by_numpy(RAMP.astype(np.float64)),
}


@pytest.mark.parametrize('color_type', ['color', 'grayscale', 'color_ignore_orientation'])
@pytest.mark.parametrize('value_range', [(0, 4095), 'file'])
@pytest.mark.parametrize('content', TWELVE_BITS.values(), ids=TWELVE_BITS)
def test_a_range_keeps_all_levels(content, value_range, color_type, warnings):
    img = decode_image(content, color_type, value_range=value_range)
    expected = np.dstack([EIGHT_BITS] * 3) if color_type.startswith('color') else EIGHT_BITS
    assert img.dtype == np.uint8
    assert img.shape == expected.shape
    assert np.abs(img.astype(int) - expected).max() <= (1 if color_type == 'grayscale' else 0)
    assert warnings == []


@pytest.mark.parametrize('kind', ['png', 'tiff', 'int32 tiff', 'float32 tiff'])
def test_both_backends_agree(kind):
    by_cv2, by_pillow = (decode_image(TWELVE_BITS[kind], 'color', b, 'a', (0, 4095)) for b in ('cv2', 'pillow'))
    assert np.array_equal(by_cv2, by_pillow)


def test_unused_depth_is_told_once(warnings):
    for name in ('a.png', 'b.png'):
        img = decode_image(TWELVE_BITS['png'], path=name)
    assert len(np.unique(img)) == 17
    assert len(warnings) == 1
    assert 'a.png has 16 bits a channel, but its largest value is 4095' in warnings[0]
    assert 'only 17 levels' in warnings[0]
    assert 'value_range=(0, 4095) of LoadImageFromFile' in warnings[0]


@pytest.mark.parametrize('kind', ['int32 tiff', 'float32 tiff', 'float64 tiff', 'float64 npy'])
def test_a_guessed_range_is_told_once(kind, warnings):
    for name in ('a.tif', 'b.tif'):
        img = decode_image(TWELVE_BITS[kind], path=name)
    assert np.array_equal(img, np.dstack([EIGHT_BITS] * 3))
    assert len(warnings) == 1
    assert 'a.tif holds values of type' in warnings[0]
    assert '0 to 4095 becomes 0 to 255' in warnings[0]


def test_fractions_are_of_one(warnings):
    img = decode_image(saved_by_pillow(np.full((4, 4), 0.5, np.float32)))
    assert np.unique(img).tolist() == [128]
    assert len(warnings) == 1
    assert '0 to 1 becomes 0 to 255' in warnings[0]


def test_full_depth_needs_no_word(warnings):
    img = decode_image(encode(RAMP * 16, '.png'))
    assert np.abs(img[..., 0].astype(int) - EIGHT_BITS).max() <= 1
    assert warnings == []


def test_missing_values_are_black():
    values = np.array([[np.nan, 2.0], [np.inf, -np.inf]], np.float32)
    assert to_eight_bits(values, (0, 4)).tolist() == [[0, 128], [255, 0]]
    assert to_eight_bits(np.array([[np.nan, 1.0, 3.0]]), 'file').tolist() == [[0, 0, 255]]


@settings(deadline=None, max_examples=60)
@given(
    dtype=st.sampled_from([np.uint16, np.int16, np.int32, np.int64, np.float32, np.float64]),
    low=st.integers(-1000, 1000),
    span=st.integers(1, 20000),
    seed=st.integers(0, 9),
)
def test_scaling_is_linear_and_clips(dtype, low, span, seed):
    low = abs(low) if dtype == np.uint16 else low
    values = np.random.default_rng(seed).integers(low, low + span + 1, (5, 7)).astype(dtype)
    levels = to_eight_bits(values, (low, low + span))
    assert levels.dtype == np.uint8
    assert np.abs(levels - (values.astype(np.float64) - low) * 255 / span).max() <= 0.5
    narrow = to_eight_bits(values, (low + span / 4, low + span / 2))
    assert (narrow[values <= low + span / 4] == 0).all()
    assert (narrow[values >= low + span / 2] == 255).all()


@pytest.mark.parametrize('wrong', ['guess', (1,), (5, 5), (9, 1), 4095])
def test_wrong_ranges(wrong):
    with pytest.raises(ValueError, match="value_range must be None, 'file' or two numbers"):
        LoadImageFromFile(value_range=wrong)


@pytest.mark.parametrize('channels', [1, 2, 3, 5, 12])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_arrays_of_any_channels_come_unchanged(tmp_path, channels, dtype):
    values = np.random.default_rng(0).integers(0, 200, (6, 8, channels)).astype(dtype)
    np.save(tmp_path / 'a.npy', values)
    load = LoadImageFromFile(color_type='unchanged')
    sample = load(dict(img_path=str(tmp_path / 'a.npy'), height=6, width=8))
    assert np.array_equal(sample['img'], values)
    assert sample['img'].dtype == dtype
    assert PackDetInputs()(sample)['inputs'].shape == (channels, 6, 8)


def test_too_many_channels_for_colors(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((6, 8, 5), np.uint8))
    with pytest.raises(ImageError, match=r'a\.npy: it has 5 channels; set color_type="unchanged"'):
        LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.npy')))


@pytest.mark.parametrize('values', [np.zeros(3), np.array(['a']), np.zeros((2, 2), complex), np.zeros((0, 4))], ids=str)
def test_arrays_that_are_no_picture(values):
    with pytest.raises(ImageError, match=r'a\.npy: expected numbers \(h, w\) or \(h, w, c\), it has shape'):
        decode_image(saved_by_numpy(values), path='a.npy')


def test_pickled_arrays_are_refused():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r'a\.npy: numpy says'):
        decode_image(buffer.getvalue(), path='a.npy')


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_unchanged_has_channels_in_the_order_of_opencv(backend):
    img = np.random.default_rng(0).integers(0, 255, (6, 8, 4), dtype=np.uint8)
    for channels in (1, 3, 4):
        picture = np.ascontiguousarray(img[..., :channels])
        assert np.array_equal(decode_image(encode(picture, '.png'), 'unchanged', backend), picture)


def test_deep_arrays(warnings):
    sample = LoadImageFromNDArray(value_range=(0, 4095))(dict(img=np.dstack([RAMP] * 3)))
    assert np.array_equal(sample['img'][..., 0], EIGHT_BITS)
    unchanged = LoadImageFromNDArray(color_type='unchanged')(dict(img=np.dstack([RAMP] * 3)))
    assert unchanged['img'].max() == 4095


@pytest.mark.parametrize('transform', [PhotoMetricDistortion(), YOLOXHSVRandomAug()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize('channels', [1, 4])
def test_colors_need_three_channels(transform, channels):
    sample = dict(img=np.zeros((4, 6, channels), np.uint8), img_path='a.png')
    with pytest.raises(
        ConfigError, match=rf'{type(transform).__name__} changes colors.*a\.png has \(4, 6, {channels}\)'
    ):
        transform(sample)


def test_label_maps_hold_small_whole_numbers(tmp_path):
    path = tmp_path / 'seg.png'
    cv2.imwrite(str(path), np.full((4, 6), 200, np.uint16))
    assert read_label_map(str(path)).tolist() == [[200] * 6] * 4
    cv2.imwrite(str(path), np.full((4, 6), 300, np.uint16))
    load = LoadAnnotations(with_bbox=False, with_label=False, with_seg=True)
    with pytest.raises(ImageError, match=r'seg\.png: labels are whole numbers of 0 to 255, but it has 300 to 300'):
        load(dict(seg_map_path=str(path)))


def pages(count: int) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.new('L', (8, 8), 40 * i) for i in range(count)]
    pictures[0].save(buffer, 'TIFF', save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(('count', 'told'), [(3, ['a.tif has 3 pages, of which the first is read']), (1, [])])
def test_further_pages_of_a_tiff_file_are_told(count, told, warnings):
    img = decode_image(pages(count), path='a.tif')
    assert img.max() == 0
    assert [message.partition(':')[0] for message in warnings] == told
