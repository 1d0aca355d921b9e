"""Panoptic data: a COCO file with PNGs, and drawn pictures with sky and ground."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmdetlike.datasets import CocoPanopticDataset, ShapesDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.shapes.render import Scene, SceneSpec, paint
from mmdetlike.datasets.transforms import LoadPanopticAnnotations, SegRescale
from mmdetlike.models.data_preprocessors.data_preprocessor import BatchFixedSizePad, DetDataPreprocessor
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.panoptic import ids_to_colors

# labels: cat 0, dog 1, sky 2; the file lists them in another order
META = {'classes': ('cat', 'dog', 'sky'), 'thing_classes': ('cat', 'dog'), 'stuff_classes': ('sky',)}
CATEGORIES = [
    {'id': 9, 'name': 'sky', 'isthing': 0},
    {'id': 4, 'name': 'dog', 'isthing': 1},
    {'id': 2, 'name': 'cat', 'isthing': 1},
    {'id': 1, 'name': 'rock', 'isthing': 0},
]
SKY, DOG, CROWD, CAT, ROCK = 70000, 300, 301, 5, 8


def segment(number, category, box, **extra):
    return {'id': number, 'category_id': category, 'bbox': box, 'area': box[2] * box[3], 'iscrowd': 0, **extra}


def ids():
    pixels = np.zeros((20, 30), np.int64)
    pixels[:10] = SKY
    pixels[10:15, 0:8] = DOG
    pixels[10:15, 8:20] = CROWD
    pixels[15:20, 4:9] = CAT
    pixels[15:20, 20:] = ROCK
    return pixels


SEGMENTS = [
    segment(SKY, 9, [0, 0, 30, 10]),
    segment(DOG, 4, [0, 10, 8, 5]),
    segment(CROWD, 4, [8, 10, 12, 5], iscrowd=1),
    segment(CAT, 2, [4, 15, 5, 5]),
    segment(ROCK, 1, [20, 15, 10, 5]),
]


@pytest.fixture
def make(tmp_path):
    def build(segments=SEGMENTS, categories=CATEGORIES, **kwargs):
        (tmp_path / 'png').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'png' / 'one.png'), ids_to_colors(ids())[..., ::-1])
        cv2.imwrite(str(tmp_path / 'one.jpg'), np.zeros((20, 30, 3), np.uint8))
        images = [{'id': 1, 'file_name': 'one.jpg', 'height': 20, 'width': 30}]
        annotations = [{'image_id': 1, 'file_name': 'one.png', 'segments_info': segments}]
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        (tmp_path / 'panoptic.json').write_text(json.dumps(content))
        settings = {'metainfo': META, 'data_prefix': {'img': '', 'seg': 'png/'}, **kwargs}
        return CocoPanopticDataset(ann_file='panoptic.json', data_root=str(tmp_path), **settings)

    return build


def test_what_a_data_info_holds(make, tmp_path):
    info = make().get_data_info(0)
    assert info['seg_map_path'] == str(tmp_path / 'png' / 'one.png')
    assert info['instances'] == [
        {'bbox': [0, 10, 8, 15], 'bbox_label': 1, 'ignore_flag': 0},
        {'bbox': [4, 15, 9, 20], 'bbox_label': 0, 'ignore_flag': 0},
    ]
    told = [(s['id'], s['category'], s['is_thing'], s['iscrowd']) for s in info['segments_info']]
    assert told == [(SKY, 2, False, 0), (DOG, 1, True, 0), (CROWD, 1, False, 1), (CAT, 0, True, 0)]


def test_the_folder_may_be_called_ann(make, tmp_path):
    info = make(data_prefix={'img': '', 'ann': 'png/', 'seg': None}).get_data_info(0)
    assert info['seg_map_path'] == str(tmp_path / 'png' / 'one.png')


def test_loaded_masks_and_classes(make):
    load = [{'type': 'LoadImageFromFile'}, {'type': 'LoadPanopticAnnotations'}]
    results = make(pipeline=load)[0]
    assert results['gt_bboxes_labels'].tolist() == [1, 0]
    assert results['gt_masks'].areas.tolist() == [40, 25]
    assert (results['gt_masks'].masks[1].astype(bool) == (ids() == CAT)).all()
    expected = np.full((20, 30), 255)
    for number, label in ((SKY, 2), (DOG, 1), (CROWD, 1), (CAT, 0)):
        expected[ids() == number] = label
    assert (results['gt_seg_map'] == expected).all()
    assert results['gt_seg_map'].dtype == np.uint8


def test_loading_a_part(make):
    results = LoadPanopticAnnotations(with_mask=False, with_seg=False)(make().get_data_info(0))
    assert results['gt_bboxes'].tensor.shape == (2, 4)
    assert not {'gt_masks', 'gt_seg_map', 'panoptic_map'} & set(results)


def test_annotations_follow_a_flip_and_are_packed(make):
    steps = ['LoadImageFromFile', 'LoadPanopticAnnotations', 'RandomFlip', 'PackDetInputs']
    pipeline = [{'type': step, **({'prob': 1.0} if step == 'RandomFlip' else {})} for step in steps]
    packed = make(pipeline=pipeline)[0]['data_samples']
    assert packed.gt_sem_seg.sem_seg.shape == (1, 20, 30)
    assert packed.gt_sem_seg.sem_seg[0, 12, 25] == 1
    assert packed.gt_instances.masks.masks[0, 12, 25] == 1
    assert packed.gt_instances.bboxes.tensor[0].tolist() == [22, 10, 30, 15]


def test_a_segment_without_area_is_left_out(make):
    empty = [*SEGMENTS, segment(77, 2, [3, 3, 0, 5])]
    dataset = make(empty)
    info = dataset.get_data_info(0)
    assert dataset.skipped == 1
    assert len(info['instances']) == 2 and 77 not in [s['id'] for s in info['segments_info']]


def test_wrong_files_are_named(make):
    with pytest.raises(DataError, match='isthing'):
        make(categories=[{'id': 1, 'name': 'cat'}])
    with pytest.raises(ValueError, match='segments_info'):
        LoadPanopticAnnotations()({'img_shape': (4, 4), 'instances': []})


def test_categories_that_occur(make):
    dataset = make()
    assert dataset.cat_img_map == {2: [1], 4: [1], 9: [1]}


def test_seg_rescale_takes_the_nearest_pixel():
    seg = np.repeat(np.repeat(np.array([[1, 2], [3, 4]], np.uint8), 8, 0), 8, 1)
    results = SegRescale(scale_factor=1 / 8)({'gt_seg_map': seg})
    assert results['gt_seg_map'].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match='scale_factor'):
        SegRescale(scale_factor=0)
    with pytest.raises(ValueError, match='backend'):
        SegRescale(2, backend='turbo')


SHAPES = SceneSpec(0, 'train', 3, 128, 160, 6, with_stuff=True)


def test_drawn_segments_cover_the_picture():
    dataset = ShapesDataset(length=4, image_size=(128, 160), with_stuff=True)
    assert dataset.metainfo['classes'][5:] == ('sky', 'ground') == dataset.metainfo['stuff_classes']
    for i in range(4):
        info = dataset.get_data_info(i)
        numbers = {s['id']: s for s in info['segments_info']}
        assert set(np.unique(info['panoptic_map']).tolist()) == set(numbers)
        assert all((info['panoptic_map'] == n).sum() == s['area'] for n, s in numbers.items())
        things = [s for s in info['segments_info'] if s['is_thing']]
        assert [s['category'] for s in things] == [i['bbox_label'] for i in info['instances']]
        assert [s['area'] for s in things] == [i['area'] for i in info['instances']]
        results = LoadPanopticAnnotations()({**info, 'img_shape': (128, 160)})
        assert results['gt_masks'].areas.tolist() == [i['area'] for i in info['instances']]
        assert set(np.unique(results['gt_seg_map']).tolist()) <= set(range(7))


def test_sky_is_bluer_than_ground_and_the_shapes_stay():
    scene = Scene(SHAPES)
    image = paint(scene).astype(int)
    background = scene.owner < 0
    ground = scene.ground()
    blue_over_red = image[..., 0] - image[..., 2]
    assert blue_over_red[background & ~ground].mean() > blue_over_red[background & ground].mean() + 30
    plain = paint(Scene(SceneSpec(0, 'train', 3, 128, 160, 6))).astype(int)
    inside = cv2.erode((scene.owner >= 0).astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert (image[inside] == plain[inside]).all()
    assert ground[-1].all() and not ground[0].any()


def test_padding_of_maps_keeps_what_is_known_of_them():
    sample = DetDataSample(metainfo={'img_shape': (4, 6)})
    seg = torch.arange(24, dtype=torch.uint8).reshape(1, 4, 6)
    sample.gt_sem_seg = PixelData(metainfo={'ignore_index': 255}, sem_seg=seg)
    batch = {'inputs': [torch.zeros(3, 4, 6)], 'data_samples': [sample]}
    augment = {'type': 'BatchFixedSizePad', 'size': (10, 12), 'pad_seg': True, 'seg_pad_value': 254}
    padder = DetDataPreprocessor(pad_size_divisor=8, pad_seg=True, batch_augments=[augment])
    out = padder(batch, training=True)
    padded = out['data_samples'][0].gt_sem_seg
    assert out['inputs'].shape == (1, 3, 10, 12) and padded.sem_seg.shape == (1, 10, 12)
    assert (padded.sem_seg[0, :4, :6] == seg[0]).all()
    assert padded.sem_seg[0, 7, 7] == 255 and padded.sem_seg[0, 9, 11] == 254
    assert padded.ignore_index == 255
    assert isinstance(padder.batch_augments[0], BatchFixedSizePad)
