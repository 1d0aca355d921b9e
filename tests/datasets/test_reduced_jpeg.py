"""JPEG files that are decoded at a part of their size, as later steps shrink them anyway."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdetlike.datasets.transforms import Compose, LoadImageFromFile, decode_image
from mmdetlike.datasets.transforms.jpeg import reduction_for, stored_size

pytest.importorskip('simplejpeg')

DATA = Path(__file__).parents[3] / 'shared' / 'data'
BOX = [40.0, 20.0, 200.0, 120.0]


def write_photo(path, height=301, width=401, orientation=1):
    """A smooth picture with one bright rectangle at ``BOX``."""
    rows, columns = np.mgrid[:height, :width]
    img = np.stack([rows * 100 / height, columns * 100 / width, 0 * rows], -1).astype(np.uint8)
    img[int(BOX[1]) : int(BOX[3]), int(BOX[0]) : int(BOX[2])] += 150
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(img).save(path, quality=95, exif=exif)
    return str(path)


def load(path, needed_size, *, test_mode=False, scale=(100, 75), size=(301, 401), interpolation='bilinear'):
    steps = [dict(type='LoadImageFromFile', needed_size=needed_size)]
    annotations = dict(type='LoadAnnotations', with_mask=True, poly2mask=False)
    resize = dict(type='Resize', scale=scale, keep_ratio=True, interpolation=interpolation)
    steps += [resize, annotations] if test_mode else [annotations, resize]
    x1, y1, x2, y2 = BOX
    instance = dict(bbox=BOX, bbox_label=0, ignore_flag=0, mask=[[x1, y1, x2, y1, x2, y2, x1, y2]], area=16000.0)
    sample = dict(img_path=path, height=size[0], width=size[1], instances=[instance], test_mode=test_mode)
    return Compose(steps)(sample)


@pytest.mark.parametrize(
    ('size', 'needed', 'reduction'),
    [
        ((800, 600), (100, 75), 8),
        ((600, 800), (100, 75), 8),
        ((600, 800), (101, 75), 4),
        ((600, 800), (400, 300), 2),
        ((600, 800), (401, 300), 1),
        ((600, 800), (1333, 800), 1),
    ],
)
def test_no_needed_pixel_is_left_out(size, needed, reduction):
    assert reduction_for(size, needed) == reduction


@pytest.mark.parametrize('color_type', ['color', 'grayscale'])
@pytest.mark.parametrize('reduction', [1, 2, 4, 8])
def test_size_is_that_part_rounded_up(tmp_path, color_type, reduction):
    content = Path(write_photo(tmp_path / 'a.jpg')).read_bytes()
    assert stored_size(content) == (301, 401)
    img = decode_image(content, color_type, reduction=reduction)
    assert img.shape[:2] == (-(-301 // reduction), -(-401 // reduction))


def test_boxes_and_masks_follow_in_training(tmp_path):
    path = write_photo(tmp_path / 'a.jpg')
    plain = load(path, None)
    reduced = load(path, (100, 75))
    assert reduced['img'].shape == plain['img'].shape == (75, 100, 3)
    assert np.abs(reduced['img'].astype(float) - plain['img']).mean() < 2
    boxes = [sample['gt_bboxes'].tensor.numpy() for sample in (plain, reduced)]
    np.testing.assert_allclose(*boxes, atol=0.25)
    polygons = [sample['gt_masks'].masks[0][0] for sample in (plain, reduced)]
    np.testing.assert_allclose(*polygons, atol=0.25)


@pytest.mark.parametrize('size', [(301, 401), (602, 802)], ids=['as annotated', 'annotated at twice the size'])
def test_predictions_belong_to_the_annotated_picture_in_testing(tmp_path, size):
    path = write_photo(tmp_path / 'a.jpg')
    steps = [dict(type='LoadImageFromFile', needed_size=(100, 75), size_mismatch='rescale')]
    steps.append(dict(type='Resize', scale=(100, 75), keep_ratio=True))
    sample = Compose(steps)(dict(img_path=path, height=size[0], width=size[1], test_mode=True, instances=[]))
    assert sample['ori_shape'] == size
    assert sample['img_shape'] == (75, 100)
    np.testing.assert_allclose(sample['scale_factor'], (100 / size[1], 75 / size[0]), rtol=1e-6)
    bright = np.argwhere(sample['img'].max(-1) > 130)
    found = bright.min(0)[::-1] / sample['scale_factor'] * (401 / size[1])
    np.testing.assert_allclose(found, BOX[:2], atol=4)


def test_annotations_that_are_loaded_last_stay_as_they_are_in_testing(tmp_path):
    sample = load(write_photo(tmp_path / 'a.jpg'), (100, 75), test_mode=True)
    assert sample['gt_bboxes'].tensor.tolist() == [BOX]
    assert (sample['gt_masks'].height, sample['gt_masks'].width) == (301, 401)


def test_picture_turned_by_exif(tmp_path):
    path = write_photo(tmp_path / 'a.jpg', orientation=6)
    sample = LoadImageFromFile(needed_size=(200, 100))(dict(img_path=path, test_mode=True))
    assert sample['ori_shape'] == (401, 301)
    assert sample['img_shape'] == sample['img'].shape[:2] == (201, 151)


def test_other_formats_keep_their_size(tmp_path):
    Image.new('RGB', (400, 300)).save(tmp_path / 'a.png')
    sample = LoadImageFromFile(needed_size=50)(dict(img_path=str(tmp_path / 'a.png')))
    assert sample['img_shape'] == sample['ori_shape'] == (300, 400)
    assert sample['scale_factor'] == (1.0, 1.0)


@pytest.mark.parametrize('needed', [0, (100, -1), (1, 2, 3), 'large'])
def test_what_is_no_size_is_refused(needed):
    with pytest.raises(ValueError, match='expected a positive number of pixels, or two'):
        LoadImageFromFile(needed_size=needed)


def test_unchanged_pixels_cannot_be_reduced():
    with pytest.raises(ValueError, match="color_type='unchanged' loads pictures as they are stored"):
        LoadImageFromFile(needed_size=100, color_type='unchanged')


@pytest.mark.skipif(not DATA.is_dir(), reason='needs the photos of ../shared')
@pytest.mark.parametrize(('folder', 'scale'), [('nuts/images', (256, 256)), ('BCCD/JPEGImages', (160, 120))])
@pytest.mark.parametrize(('interpolation', 'bound'), [('area', 3), ('bilinear', 9)])
def test_photos_differ_within_the_stated_bound(folder, scale, interpolation, bound):
    """An area average has all pixels, as reduced decoding has; bilinear interpolation reads four of them."""
    for path in sorted((DATA / folder).glob('*.jpg'))[:4]:
        size = stored_size(path.read_bytes())
        settings = dict(scale=scale, size=size, interpolation=interpolation)
        plain = load(str(path), None, **settings)
        reduced = load(str(path), scale, **settings)
        assert reduction_for(size, scale) > 1
        assert plain['img'].shape == reduced['img'].shape
        difference = np.abs(plain['img'].astype(float) - reduced['img']).mean()
        assert difference < bound  # of 255 gray levels
        np.testing.assert_allclose(*(sample['gt_bboxes'].tensor for sample in (plain, reduced)), atol=0.5)
