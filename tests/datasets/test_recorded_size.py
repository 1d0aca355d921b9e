"""Pictures whose size isn't the one that their annotations give."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.errors import DataError, ImageError, ImageSizeError, tells_at
from mmdetlike.datasets.transforms import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray, PackDetInputs
from mmdetlike.datasets.transforms.recorded_size import rescale_sample
from mmdetlike.structures import Warp

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def write_picture(path, height=64, width=96, orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', (width, height), (90, 90, 90)).save(path, exif=exif)


def write_dataset(folder, recorded, box=(8, 8, 40, 40), **kwargs):
    """A dataset whose pictures are 96 x 64 and of which each has one box; ``recorded``: (w, h) of each."""
    images, annotations = [], []
    for number, (width, height) in enumerate(recorded):
        write_picture(folder / f'{number}.png')
        images.append(dict(id=number, file_name=f'{number}.png', width=width, height=height))
        annotations.append(dict(id=number, image_id=number, category_id=1, bbox=list(box), area=1600, iscrowd=0))
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='cat')])
    (folder / 'a.json').write_text(json.dumps(content))
    options = dict(data_root=str(folder), ann_file='a.json', metainfo=dict(classes=('cat',)), pipeline=LOAD) | kwargs
    return CocoDataset(**options)


@pytest.fixture
def warnings(monkeypatch):
    messages = []
    for module in ('mmdetlike.datasets.base', 'mmdetlike.datasets.transforms.recorded_size'):
        monkeypatch.setattr(f'{module}.warn', messages.append)
    return messages


def load_turned(path, **options):
    write_picture(path, orientation=6)
    return LoadImageFromFile(**options)


def test_equal_sizes_pass(tmp_path, warnings):
    write_picture(tmp_path / 'a.png')
    sample = LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png'), height=64, width=96))
    assert sample['img_shape'] == (64, 96)
    assert warnings == []


@pytest.mark.parametrize('recorded', [{}, dict(height=None, width=None), dict(height=0, width=96), dict(height='x')])
def test_an_unknown_size_is_not_compared(tmp_path, recorded):
    write_picture(tmp_path / 'a.png')
    assert LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png'), **recorded))['img_shape'] == (64, 96)


def test_one_odd_picture_is_left_out_of_training(tmp_path, warnings):
    dataset = write_dataset(tmp_path, [(96, 64), (960, 640), (96, 64)])
    np.random.seed(0)
    ids = [dataset[index]['img_id'] for index in (0, 1, 2, 1)]
    assert 1 not in ids
    assert len(warnings) == 1
    assert '1.png' in warnings[0]
    assert 'width x height is 96 x 64, but 960 x 640' in warnings[0]
    assert 'size_mismatch' in warnings[0]


def test_a_file_of_wrong_sizes_stops_training(tmp_path):
    dataset = write_dataset(tmp_path, [(960, 640)] * 3)
    with pytest.raises(DataError, match=r'a\.json: 10 images in a row are of another size.*\.png.*960 x 640'):
        dataset[0]


def test_testing_warns_and_predicts(tmp_path, warnings):
    dataset = write_dataset(tmp_path, [(960, 640)], test_mode=True)
    for _ in range(2):
        assert dataset[0]['img_shape'] == (64, 96)
    assert len(warnings) == 1
    assert '0.png' in warnings[0]


def test_ignored(tmp_path, warnings):
    sample = write_dataset(tmp_path, [(960, 640)], pipeline=[dict(LOAD[0], size_mismatch='ignore'), LOAD[1]])[0]
    assert sample['gt_bboxes'].tensor.tolist() == [[8, 8, 48, 48]]
    assert warnings == []


def test_an_error_if_so_wanted(tmp_path):
    dataset = write_dataset(tmp_path, [(960, 640)], pipeline=[dict(LOAD[0], size_mismatch='error')])
    with pytest.raises(DataError, match=r'0\.png: its width x height is 96 x 64, but 960 x 640'):
        dataset[0]


def test_unknown_setting():
    with pytest.raises(ValueError, match="size_mismatch='stretch' is unknown; expected one of skip, rescale"):
        LoadImageFromFile(size_mismatch='stretch')


def test_swapped_sides_are_named(tmp_path):
    write_picture(tmp_path / 'a.png')
    with pytest.raises(ImageSizeError, match=r'a\.png.*96 x 64, but 64 x 96.*width and height are exchanged'):
        LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png'), height=96, width=64))


@pytest.mark.parametrize('mismatch', ['skip', 'rescale'])
def test_exif_turns_are_named(tmp_path, mismatch):
    load = load_turned(tmp_path / 'a.jpg', size_mismatch=mismatch)
    sample = dict(img_path=str(tmp_path / 'a.jpg'), height=64, width=96)
    with pytest.raises(ImageSizeError, match=r'EXIF orientation, 6; set color_type.*"color_ignore_orientation"'):
        load(dict(sample))
    stored = LoadImageFromFile(color_type='color_ignore_orientation', size_mismatch=mismatch)
    assert stored(dict(sample))['img_shape'] == (64, 96)


def test_the_other_way_round(tmp_path):
    load = load_turned(tmp_path / 'a.jpg', color_type='color_ignore_orientation')
    with pytest.raises(ImageSizeError, match=r'loaded as stored, without its EXIF orientation, 6.*"color"'):
        load(dict(img_path=str(tmp_path / 'a.jpg'), height=96, width=64))


def test_arrays_are_compared_too():
    sample = dict(img=np.zeros((64, 96, 3), np.uint8), img_path='a.png', height=640, width=960)
    with pytest.raises(ImageSizeError, match='960 x 640'):
        LoadImageFromNDArray()(sample)


def test_rescaling_in_training(tmp_path, warnings):
    steps = [dict(LOAD[0], size_mismatch='rescale'), LOAD[1]]
    sample = write_dataset(tmp_path, [(960, 320)], box=(100, 50, 200, 100), pipeline=steps)[0]
    assert sample['gt_bboxes'].tensor.tolist() == [[10, 10, 30, 30]]
    assert (sample['height'], sample['width']) == (64, 96)
    assert sample['instances'][0]['area'] == pytest.approx(1600 / 50)
    assert len(warnings) == 1
    assert 'Annotations are rescaled for an image of another size' in warnings[0]


def test_in_testing_predictions_are_scaled_to_the_annotations(tmp_path, warnings):
    steps = [
        dict(LOAD[0], size_mismatch='rescale'),
        dict(type='Resize', scale=(192, 128)),
        dict(type='LoadAnnotations'),
        dict(type='PackDetInputs'),
    ]
    sample = write_dataset(tmp_path, [(960, 320)], (100, 50, 200, 100), pipeline=steps, test_mode=True)[0]
    packed = sample['data_samples']
    assert 'Predictions are rescaled for' in warnings[0]
    assert packed.ori_shape == (320, 960)
    assert packed.img_shape == (128, 192)
    assert packed.scale_factor == pytest.approx((192 / 960, 128 / 320))
    assert packed.gt_instances.bboxes.tensor.tolist() == [[100, 50, 300, 150]]


def marked(size, box):
    """A bitmap (h, w) of a box of whole pixels."""
    bitmap = np.zeros(size, np.uint8)
    x1, y1, x2, y2 = box
    bitmap[y1:y2, x1:x2] = 1
    return bitmap


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_annotations_follow_the_pixels(data):
    """A box that is drawn into a picture lies where its pixels lie when the picture has been enlarged."""
    height, width = data.draw(st.integers(4, 24)), data.draw(st.integers(4, 24))
    factor_y, factor_x = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    x1, y1 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    bitmap = marked((height, width), (x1, y1, x2, y2))
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    polygon = [x1, y1, x2, y1, x2, y2, x1, y2]
    instance = dict(bbox=[x1, y1, x2, y2], bbox_label=0, mask=rle, keypoints=[x1, y1, 2, 0, 0, 0], area=bitmap.sum())
    sample = dict(instances=[instance, dict(instance, mask=[polygon])], height=height, width=width)
    size = (height * factor_y, width * factor_x)
    sample.update(img=np.zeros((*size, 3), np.uint8), img_shape=size, ori_shape=size)

    rescale_sample(sample, Warp.resize((height, width), size))
    sample = LoadAnnotations(with_mask=True, with_keypoints=True)(sample)

    enlarged = bitmap.repeat(factor_y, axis=0).repeat(factor_x, axis=1)
    ys, xs = np.nonzero(enlarged)
    for box, mask, points in zip(sample['gt_bboxes'].tensor, sample['gt_masks'].masks, sample['gt_keypoints']):
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert np.array_equal(mask, enlarged)
        assert points.tolist() == [[xs.min(), ys.min(), 2], [0, 0, 0]]
    assert sample['instances'][0]['area'] == enlarged.sum()
    assert len(PackDetInputs()(sample)['data_samples'].gt_instances) == 2


def test_label_maps_follow(tmp_path):
    write_picture(tmp_path / 'a.png')
    seg = np.zeros((32, 48), np.uint8)
    seg[:, 24:] = 7
    cv2.imwrite(str(tmp_path / 'seg.png'), seg)
    sample = dict(img_path=str(tmp_path / 'a.png'), seg_map_path=str(tmp_path / 'seg.png'), height=32, width=48)
    steps = (
        LoadImageFromFile(size_mismatch='rescale'),
        LoadAnnotations(with_bbox=False, with_label=False, with_seg=True),
    )
    for step in steps:
        sample = step(sample)
    assert np.array_equal(sample['gt_seg_map'], seg.repeat(2, axis=0).repeat(2, axis=1))


def test_a_label_map_of_another_size_is_broken(tmp_path):
    cv2.imwrite(str(tmp_path / 'seg.png'), np.zeros((32, 48), np.uint8))
    sample = dict(img_path='a.png', seg_map_path=str(tmp_path / 'seg.png'), ori_shape=(64, 96))
    with pytest.raises(ImageError, match=r'seg\.png: the width x height of this map is 48 x 32, but 96 x 64.*a\.png'):
        LoadAnnotations(with_bbox=False, with_label=False, with_seg=True)(sample)


def test_many_odd_pictures_are_counted_not_listed():
    told = [count for count in range(1, 2000) if tells_at(count)]
    assert told == [1, 2, 3, 4, 5, 10, 100, 1000]
