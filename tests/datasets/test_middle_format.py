"""The list of pictures of toolbox 2.x, from files and from methods of one's own."""

import json
import pickle

import cv2
import numpy as np
import pytest

from mmdetlike.datasets import CustomDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError

CLASSES = ('cat', 'dog')
PICTURES = [
    dict(
        filename='a.jpg',
        width=20,
        height=10,
        ann=dict(
            bboxes=np.array([[1, 2, 8, 9], [3, 3, 3, 9]], np.float32),
            labels=np.array([1, 0]),
            bboxes_ignore=np.array([[0, 0, 5, 5]], np.float32),
            masks=[[[1, 2, 8, 2, 8, 9]], [[3, 3, 4, 4, 5, 3]]],
        ),
    ),
    dict(filename='b.jpg', width=20, height=10, ann=dict(bboxes=np.zeros((0, 4)), labels=np.zeros(0, np.int64))),
]


def made(path, **kwargs):
    return CustomDataset(ann_file=str(path), data_prefix=dict(img='pictures'), metainfo=dict(classes=CLASSES), **kwargs)


@pytest.mark.parametrize('form', ['json', 'pkl'])
def test_pictures_of_a_file(form, tmp_path):
    path = tmp_path / f'a.{form}'
    if form == 'pkl':
        path.write_bytes(pickle.dumps(PICTURES))
    else:
        path.write_text(json.dumps(PICTURES, default=lambda array: array.tolist()))
    dataset = made(path)
    first = dataset.get_data_info(0)
    assert (first['img_path'], first['width'], first['height']) == ('pictures/a.jpg', 20, 10)
    kept, ignored = first['instances']  # the second box has no area
    assert (kept['bbox'], kept['bbox_label'], kept['ignore_flag']) == ([1, 2, 8, 9], 1, 0)
    assert np.asarray(kept['mask']).tolist() == [[1, 2, 8, 2, 8, 9]]
    assert (ignored['bbox'], ignored['ignore_flag'], 'mask' in ignored) == ([0, 0, 5, 5], 1, False)
    assert dataset.skipped == 1 and dataset.get_data_info(1)['instances'] == []
    assert dataset.metainfo['classes'] == CLASSES


def test_a_class_of_2x_that_reads_its_own_files(tmp_path):
    class Lines(CustomDataset):
        CLASSES = CLASSES

        def load_annotations(self, ann_file):
            return [dict(id=name, filename=f'{name}.png') for name in open(ann_file).read().split()]

        def get_ann_info(self, idx):
            return dict(bboxes=np.array([[0, 0, 4, 5]]), labels=np.array([idx]))

    (tmp_path / 'list.txt').write_text('x\ny\n')
    for name in 'xy':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((6, 7, 3), np.uint8))
    dataset = Lines(ann_file=str(tmp_path / 'list.txt'), data_prefix=dict(img=str(tmp_path)))
    second = dataset.get_data_info(1)
    assert (second['img_id'], second['width'], second['height']) == ('y', 7, 6)
    assert [instance['bbox_label'] for instance in second['instances']] == [1]


@pytest.mark.parametrize(
    ('pictures', 'message'),
    [
        (dict(a=1), 'expected a list of dicts'),
        ([dict(width=3)], 'picture 0 has filename=None; expected the path'),
        ([dict(filename='nowhere.jpg')], 'picture 0 lacks width or height, and the picture cannot be asked'),
        (
            [dict(PICTURES[1], ann=dict(bboxes=[[1, 2, 3]]))],
            r'has bboxes=\[\[1, 2, 3\]\]; expected rows of four numbers',
        ),
        ([dict(PICTURES[1], ann=dict(bboxes=[[1, 2, 3, 4]]))], '1 bboxes and 0 labels; expected as many'),
        ([dict(PICTURES[1], ann=dict(bboxes=[[1, 2, 3, 4]], labels=[2]))], 'has the label 2; expected 0 to 1, of 2'),
    ],
)
def test_what_is_wrong_is_told_with_its_picture(pictures, message, tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(pictures, default=lambda array: array.tolist()))
    with pytest.raises(DataError, match=message):
        made(tmp_path / 'a.json').full_init()


def test_files_and_classes_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / 'a.pkl').write_bytes(b'no pickle')
    with pytest.raises(DataError, match=r'a\.pkl: neither JSON \(\.json\) nor a pickle'):
        made(tmp_path / 'a.pkl').full_init()
    (tmp_path / 'a.json').write_text('[]')
    with pytest.raises(ConfigError, match="CustomDataset doesn't know its classes"):
        CustomDataset(ann_file=str(tmp_path / 'a.json')).full_init()
