"""TIFF files: damage that decoders pass over, depth, and channels; and one rule of channels for all formats."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets.transforms import ImageError, LoadImageFromFile, decode_image, image_io
from mmdetlike.datasets.transforms.image_io import read_label_map

NOISE = np.random.default_rng(0).integers(0, 255, (96, 128, 4)).astype(np.uint8)
PICTURE = cv2.GaussianBlur(NOISE, (9, 9), 3)
COLORS = Image.fromarray(PICTURE[..., :3])
KINDS = ('raw', 'tiff_lzw', 'tiff_adobe_deflate', 'packbits')
BACKENDS = ('cv2', 'pillow')


def encoded(picture: Image.Image, kind: str = 'TIFF', **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def as_tiff(compression: str = 'raw', picture: Image.Image = COLORS) -> bytes:
    return encoded(picture, compression=compression)


def zeroed(content: bytes, share: float = 0.5, length: int = 512) -> bytes:
    start = int(len(content) * share)
    return content[:start] + bytes(length) + content[start + length :]


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('share', [0.0005, 0.5, 0.9, 0.999])
def test_truncated_files(kind, share, backend):
    content = as_tiff(kind)
    content = content[: int(len(content) * share)]
    with pytest.raises(ImageError, match=rf'a\.tif: the file is truncated after {len(content)} bytes'):
        decode_image(content, backend=backend, path='a.tif')


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(('kind', 'told'), [('tiff_lzw', 'Pillow says'), ('tiff_adobe_deflate', 'data is damaged')])
@pytest.mark.parametrize('color_type', ['color', 'grayscale', 'unchanged'])
def test_zeros_in_place_of_data(kind, told, color_type, backend):
    with pytest.raises(ImageError, match=rf'a\.tif: .*{told}'):
        decode_image(zeroed(as_tiff(kind)), color_type, backend, path='a.tif')


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.05, 0.95), bit=st.integers(0, 7), deep=st.booleans())
def test_a_flipped_bit_of_deflated_data_is_found(share, bit, deep):
    picture = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 256) if deep else COLORS
    content = bytearray(as_tiff('tiff_adobe_deflate', picture))
    content[int(len(content) * share)] ^= 1 << bit
    with pytest.raises(ImageError, match='TIFF data is damaged, so that a part of the picture is wrong'):
        decode_image(bytes(content))


def test_damage_is_only_told_where_all_pictures_count(monkeypatch, tmp_path):
    messages = []
    monkeypatch.setattr(image_io, 'warn', messages.append)
    (tmp_path / 'a.tif').write_bytes(zeroed(as_tiff('tiff_adobe_deflate')))
    sample = LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.tif'), test_mode=True))
    assert sample['img'].shape == (96, 128, 3)
    assert len(messages) == 1
    assert 'TIFF data is damaged' in messages[0]
    assert messages[0].endswith('it is used as far as it can be decoded.')


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientations_are_those_of_opencv(orientation):
    content = encoded(COLORS, tiffinfo={274: orientation})
    for color_type, flag in (('color', cv2.IMREAD_COLOR), ('unchanged', cv2.IMREAD_UNCHANGED)):
        expected = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        assert np.array_equal(decode_image(content, color_type), expected)


PALETTE = COLORS.quantize(16)
OPAQUE = bytes([0, 128] + [255] * 14)
MODES = {
    '1': (COLORS.convert('1'), 1),
    'L': (COLORS.convert('L'), 1),
    'LA': (Image.fromarray(PICTURE[..., :2], 'LA'), 4),
    'P': (PALETTE, 3),
    'RGB': (COLORS, 3),
    'RGBA': (Image.fromarray(PICTURE, 'RGBA'), 4),
    'CMYK': (COLORS.convert('CMYK'), 3),
}
FORMATS = {
    'PNG': set(MODES) - {'CMYK'},
    'TIFF': set(MODES),
    'WEBP': {'LA', 'RGB', 'RGBA'},
    'BMP': {'1', 'L', 'P', 'RGB'},
}


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(('kind', 'mode'), [(kind, mode) for kind, modes in FORMATS.items() for mode in sorted(modes)])
def test_unchanged_follows_one_rule_of_channels(kind, mode, backend):
    picture, channels = MODES[mode]
    options = dict(lossless=True, exact=True) if kind == 'WEBP' else {}
    img = decode_image(encoded(picture, kind, **options), 'unchanged', backend)
    assert img.dtype == np.uint8
    expected = np.asarray(picture.convert({1: 'L', 3: 'RGB', 4: 'RGBA'}[channels])).reshape(96, 128, channels)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    assert np.array_equal(img, expected[..., order])


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    ('content', 'channels'),
    [
        (encoded(PALETTE, 'PNG', transparency=OPAQUE), 4),
        (encoded(COLORS, 'PNG', transparency=(1, 2, 3)), 4),
        (encoded(COLORS.convert('1'), 'GIF'), 3),
        (encoded(PALETTE, 'GIF'), 3),
    ],
    ids=['palette', 'one color', 'gray GIF', 'GIF'],
)
def test_transparent_colors_and_palettes_have_the_channels_of_opencv(content, channels, backend):
    assert decode_image(content, 'unchanged', backend).shape == (96, 128, channels)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('ending', ['.png', '.tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_colors_keep_their_16_bits(channels, ending, backend):
    deep = np.ascontiguousarray(PICTURE[..., :channels]).astype(np.uint16) * 16
    content = cv2.imencode(ending, deep)[1].tobytes()
    assert np.array_equal(decode_image(content, 'unchanged', backend), deep)
    img = decode_image(content, backend=backend, value_range=(0, 4080))
    assert np.array_equal(img, np.dstack([PICTURE[..., :1]] * 3) if channels == 1 else PICTURE[..., :3])


def test_colors_of_transparent_pixels_stay():
    picture = PICTURE.copy()
    picture[..., 3] = 0
    content = as_tiff(picture=Image.fromarray(picture, 'RGBA'))
    assert np.array_equal(decode_image(content), picture[..., 2::-1])


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'GIF', 'BMP'])
@pytest.mark.parametrize('backend', BACKENDS)
def test_label_maps_with_a_palette_are_its_indices(kind, backend, tmp_path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(labels, 'P')
    picture.putpalette(np.random.default_rng(0).bytes(256 * 3))
    (tmp_path / 'seg').write_bytes(encoded(picture, kind))
    assert read_label_map(str(tmp_path / 'seg'), backend).tolist() == labels.tolist()


FILES = [
    *(as_tiff(kind) for kind in KINDS),
    *(encoded(COLORS, kind) for kind in ('PNG', 'WEBP', 'JPEG', 'GIF', 'BMP', 'AVIF')),
    cv2.imencode('.tif', PICTURE.astype(np.float32))[1].tobytes(),
]


@pytest.mark.filterwarnings('ignore')  # Pillow warns of tags that it can't read
@settings(max_examples=80, deadline=None)
@given(
    content=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 40)), min_size=1, max_size=4),
    in_header=st.booleans(),
    color_type=st.sampled_from(['color', 'grayscale', 'unchanged']),
    backend=st.sampled_from(BACKENDS),
)
def test_any_damaged_file_is_a_picture_or_an_image_error(content, changes, in_header, color_type, backend):
    for share, put, removed in changes:
        start = int(share * min(len(content), 200 if in_header else len(content)))
        content = content[:start] + put + content[start + removed :]
    try:
        img = decode_image(content, color_type, backend, path='a.file')
    except ImageError as error:
        assert str(error).startswith('a.file: ')
    else:
        assert img.ndim == (2 if color_type == 'grayscale' else 3)
