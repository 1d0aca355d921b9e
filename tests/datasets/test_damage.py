"""Files that are damaged inside, which decoders pass over."""

import io
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.transforms import ImageError, LoadImageFromFile, decode_image, jpeg
from mmdetlike.datasets.transforms.image_io import read_image

COLORS = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
PICTURE = cv2.resize(COLORS, (300, 200), interpolation=cv2.INTER_CUBIC)
ENCODINGS = {'baseline': {}, 'progressive': {'progressive': True}, 'full color': {'subsampling': 0}}

needs_simplejpeg = pytest.mark.skipif(jpeg.simplejpeg is None, reason='simplejpeg is not installed')


def as_jpeg(mode='RGB', **options):
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(buffer, 'JPEG', quality=90, **options)
    return buffer.getvalue()


def zeroed(content, share=0.5, length=300):
    start = int(len(content) * share)
    return content[:start] + bytes(length) + content[start + length :]


def cut(content, share=0.5, length=1000):
    start = int(len(content) * share)
    return content[:start] + content[start + length :]


@needs_simplejpeg
@pytest.mark.parametrize('damage', [zeroed, cut])
@pytest.mark.parametrize('options', ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_damaged_jpeg(options, damage, backend):
    content = damage(as_jpeg(**options))
    with pytest.raises(
        ImageError, match=r'a\.jpg: its JPEG data is damaged, so that a part.*(libjpeg says: |64 zeros)'
    ):
        decode_image(content, backend=backend, path='a.jpg')


@needs_simplejpeg
def test_damage_is_only_told_where_all_pictures_count(monkeypatch):
    messages = []
    monkeypatch.setattr(jpeg, 'warn', messages.append)
    img = decode_image(zeroed(as_jpeg()), path='a.jpg', strict=False)
    assert img.shape == PICTURE.shape
    assert len(messages) == 1
    assert messages[0].startswith('a.jpg: its JPEG data is damaged')


@needs_simplejpeg
def test_training_goes_on_with_another_picture(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr('mmdetlike.datasets.base.warn', messages.append)
    monkeypatch.setattr(jpeg, 'warn', messages.append)
    (tmp_path / '0.jpg').write_bytes(as_jpeg())
    (tmp_path / '1.jpg').write_bytes(zeroed(as_jpeg()))
    images = [dict(id=number, file_name=f'{number}.jpg', width=300, height=200) for number in range(2)]
    content = dict(images=images, annotations=[], categories=[dict(id=1, name='cat')])
    (tmp_path / 'a.json').write_text(json.dumps(content))
    options = dict(data_root=str(tmp_path), ann_file='a.json', metainfo=dict(classes=('cat',)))
    load = dict(type='LoadImageFromFile')
    assert CocoDataset(**options, pipeline=[load])[1]['img_id'] == 0
    assert 'Skipped a broken image (1 so far' in messages[0]
    assert '1.jpg: its JPEG data is damaged' in messages[0]
    assert CocoDataset(**options, pipeline=[load], test_mode=True)[1]['img_id'] == 1
    assert 'it is used as far as it can be decoded' in messages[1]


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
@pytest.mark.parametrize('options', ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize('color_type', ['color', 'grayscale', 'unchanged', 'color_ignore_orientation'])
def test_whole_jpeg_gives_the_pixels_of_opencv(mode, options, color_type):
    flags = dict(color=1, grayscale=0, unchanged=-1, color_ignore_orientation=1)
    content = as_jpeg(mode, **options)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), flags[color_type])
    img = decode_image(content, color_type)
    assert np.array_equal(img, expected[..., None] if color_type == 'unchanged' and expected.ndim == 2 else expected)


@pytest.mark.parametrize('orientation', range(10))
def test_orientations_are_those_of_opencv(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = as_jpeg(exif=exif)
    encoded = np.frombuffer(content, np.uint8)
    assert np.array_equal(decode_image(content), cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    stored = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert np.array_equal(decode_image(content, 'color_ignore_orientation'), stored)


@pytest.mark.parametrize('has_simplejpeg', [True, False])
@pytest.mark.parametrize('options', [{}, {'subsampling': 0}, {'restart_marker_rows': 1}], ids=str)
def test_zeros_in_place_of_data_are_always_found(options, has_simplejpeg, monkeypatch):
    """Decoders fall into step again behind most of them."""
    if not has_simplejpeg:
        monkeypatch.setattr(jpeg, 'simplejpeg', None)
    content = as_jpeg(**options)
    for share in np.linspace(0.1, 0.9, 30):
        with pytest.raises(ImageError, match=r'a\.jpg: its JPEG data is damaged'):
            decode_image(zeroed(content, share, 130), path='a.jpg')


@pytest.mark.parametrize('options', [{}, {'optimize': True}, {'progressive': True}, {'quality': 5}], ids=str)
@pytest.mark.parametrize('value', [0, 90, 128, 255])
@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_plain_pictures_have_no_holes(mode, value, options):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = '\0' * 300  # zeros outside the image data don't count, nor behind it
    Image.new('RGB', (600, 400), (value,) * 3).convert(mode).save(buffer, 'JPEG', exif=exif, **options)
    content = buffer.getvalue() + bytes(500)
    assert np.abs(decode_image(content).astype(int) - value).max() <= 8  # quality 5


def test_without_simplejpeg_whole_files_are_read(monkeypatch):
    expected = decode_image(as_jpeg())
    monkeypatch.setattr(jpeg, 'simplejpeg', None)
    assert np.array_equal(decode_image(as_jpeg()), expected)


PNG = cv2.imencode('.png', PICTURE)[1].tobytes()


@settings(deadline=None, max_examples=80)
@given(position=st.integers(8, len(PNG) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_png_is_found(position, bit):
    damaged = PNG[:position] + bytes([PNG[position] ^ (1 << bit)]) + PNG[position + 1 :]
    with pytest.raises(ImageError, match=r'a\.png: '):
        decode_image(damaged, path='a.png')


def test_what_follows_a_png_does_not_count(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(PNG + b'appended')
    assert np.array_equal(LoadImageFromFile()(dict(img_path=str(path)))['img'], PICTURE)


@pytest.mark.parametrize(
    ('stored', 'asked', 'hint'),
    [
        ('sub/1.png', 'sub\\1.png', r'but there is .*sub/1\.png: the name has backslashes, as Windows writes paths'),
        ('1.PNG', '1.png', r"but there is '1\.PNG', of another spelling"),
        ('e\u0301.png', '\u00e9.png', 'of another spelling'),
        ('my pic.png', 'my%20pic.png ', "but there is 'my pic.png', of another spelling"),
        ('1.png', '2.png', r'there is no such file$'),
        ('1.png', 'nosuch/1.png', r'there is no such file$'),
    ],
)
def test_a_missing_picture_of_almost_that_name(stored, asked, hint, tmp_path):
    (tmp_path / stored).parent.mkdir(exist_ok=True)
    (tmp_path / stored).write_bytes(b'')
    with pytest.raises(ImageError, match=hint):
        read_image(f'{tmp_path}/{asked}')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', r'pointer of Git LFS, .* "git lfs pull"'),
        (b'<!DOCTYPE html><html>404</html>', 'it is a web page'),
        (b'\0\0\0\x18ftypheic' + b'\0' * 50, 'it is a HEIC picture'),
    ],
)
def test_what_is_no_picture_is_named(content, said):
    with pytest.raises(ImageError, match=said):
        decode_image(content, path='1.jpg')
