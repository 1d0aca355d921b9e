"""Panoptic data in two parts: objects of an instance file, label maps of stuff."""

import json

import numpy as np
import pytest
from PIL import Image

from mmdetlike.datasets import CocoSeparatedPanopticDataset
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import BoxesFromMasks, LoadStuffMap
from mmdetlike.errors import ConfigError
from mmdetlike.structures.bbox import HorizontalBoxes
from mmdetlike.structures.mask import BitmapMasks

META = dict(classes=('cat', 'dog', 'sky', 'grass'), thing_classes=('cat', 'dog'), stuff_classes=('sky', 'grass'))
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_mask=True),
    dict(type='LoadStuffMap'),
    dict(type='PackDetInputs'),
]


@pytest.fixture
def root(tmp_path):
    stuff = np.full((20, 30), 1, np.uint8)
    stuff[10:] = 2
    stuff[5:15, 5:15] = 0  # a dog, and a thing without an object
    stuff[5:15, 20:22] = 0
    stuff[0] = 255
    for folder, pixels in (('img', np.zeros((20, 30, 3), np.uint8)), ('stuff', stuff)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / 'a.png')
    dog = [5, 5, 15, 5, 15, 15, 5, 15]
    content = dict(
        images=[dict(id=1, file_name='a.png', width=30, height=20)],
        categories=[dict(id=3, name='dog'), dict(id=1, name='cat')],
        annotations=[
            dict(id=1, image_id=1, category_id=3, bbox=[5, 5, 10, 10], iscrowd=0, segmentation=[dog]),
            dict(id=2, image_id=1, category_id=1, bbox=[0, 12, 8, 6], iscrowd=0, segmentation=[[0, 12, 8, 12, 8, 18]]),
        ],
    )
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    return tmp_path


def build(root, metainfo=META, pipeline=STEPS):
    return CocoSeparatedPanopticDataset(
        ann_file='instances.json',
        data_root=str(root),
        data_prefix=dict(img='img/', seg='stuff/'),
        metainfo=metainfo,
        pipeline=pipeline,
    )


def test_objects_and_stuff(root):
    sample = build(root)[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [1, 0]
    classes = sample.gt_sem_seg.sem_seg[0].numpy()
    assert (classes[0] == 255).all() and classes[3, 3] == 2 and classes[18, 20] == 3
    # the dog's class; no object says what the other thing is; the cat's mask reaches over stuff, which stays
    assert classes[8, 12] == 1 and classes[8, 21] == 0 and classes[17, 7] == 3
    # masks keep what overlaps
    assert sample.gt_instances.masks.masks[0, 13, 6] and sample.gt_instances.masks.masks[1, 13, 6]


def test_what_is_missing_is_told(root):
    with pytest.raises(ConfigError, match='metainfo has no thing_classes that its classes begin with'):
        build(root, dict(classes=('sky', 'cat'), thing_classes=('cat',)))
    with pytest.raises(ImageError, match='LoadStuffMap needs num_things'):
        LoadStuffMap()(dict(seg_map_path=str(root / 'stuff/a.png'), img_shape=(20, 30)))
    alone = LoadStuffMap(num_things=2)(dict(seg_map_path=str(root / 'stuff/a.png'), img_shape=(20, 30)))
    assert alone['gt_seg_map'][8, 12] == 0 and alone['gt_seg_map'][18, 20] == 3


def test_boxes_around_masks():
    masks = np.zeros((2, 10, 10), np.uint8)
    masks[0, 2:5, 3:9] = 1
    results = dict(
        gt_bboxes=HorizontalBoxes(np.array([[0, 0, 10, 10], [1, 1, 2, 2]], np.float32)),
        gt_bboxes_labels=np.array([4, 5]),
        gt_masks=BitmapMasks(masks, 10, 10),
    )
    results = BoxesFromMasks()(results)
    assert results['gt_bboxes'].tensor.tolist() == [[3, 2, 9, 5]] and results['gt_bboxes_labels'].tolist() == [4]
