"""Proposal files of Detectron2."""

import pickle
import sys
import types
from enum import IntEnum

import numpy as np
import pytest

from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.proposals import attach_proposals, read_proposals

CONTENT = dict(
    ids=[7, 9],
    boxes=[np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.zeros((0, 4))],
    objectness_logits=[np.array([-1.5, 2.0]), np.zeros(0)],
)


@pytest.fixture
def write(tmp_path):
    def written(**changes):
        path = tmp_path / 'proposals.pkl'
        path.write_bytes(pickle.dumps({**CONTENT, **changes}))
        return str(path)

    return written


def test_images_are_known_by_their_ids(write):
    infos = [dict(img_path='a/9.jpg', img_id=9), dict(img_path='a/x.jpg', img_id=7)]
    attach_proposals(infos, write())
    assert len(infos[0]['proposals']['bboxes']) == 0
    # the best one first
    assert infos[1]['proposals']['bboxes'].tolist() == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert infos[1]['proposals']['scores'].tolist() == [2, -1.5]
    with pytest.raises(DataError, match=r"no proposals for 1 of 1 images, e\.g\. \['a/y\.jpg'\]"):
        attach_proposals([dict(img_path='a/y.jpg', img_id=8)], write())


def test_boxes_of_another_mode(write, monkeypatch):
    # an enumeration of theirs in the file, which is not installed where it is read
    mode = IntEnum('BoxMode', {'XYXY_ABS': 0, 'XYWH_ABS': 1}, module='detectron2.structures.boxes')
    package = types.ModuleType('detectron2.structures.boxes')
    package.BoxMode = mode
    with monkeypatch.context() as patch:
        for name in ('detectron2', 'detectron2.structures', 'detectron2.structures.boxes'):
            patch.setitem(sys.modules, name, package)
        path = write(bbox_mode=mode.XYWH_ABS)
    assert read_proposals(path)['7']['bboxes'].tolist() == [[5, 6, 12, 14], [1, 2, 4, 6]]
    assert read_proposals(write(bbox_mode=1))['7']['bboxes'].tolist() == [[5, 6, 12, 14], [1, 2, 4, 6]]


def test_old_names(tmp_path):
    path = tmp_path / 'old.pkl'
    old = dict(indexes=CONTENT['ids'], boxes=CONTENT['boxes'], scores=CONTENT['objectness_logits'])
    path.write_bytes(pickle.dumps(old))
    assert read_proposals(str(path))['7']['scores'].tolist() == [2, -1.5]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(ids=[7]), r"its lists differ in length: \{'ids': 1, 'boxes': 2, 'objectness_logits': 2\}"),
        (dict(objectness_logits=[np.zeros(3), np.zeros(0)]), 'image 7 has 2 boxes and 3 objectness_logits'),
        (dict(bbox_mode=17), '17 is not a valid BoxMode'),
    ],
)
def test_what_does_not_fit_is_told(write, changes, message):
    with pytest.raises(DataError, match=message):
        read_proposals(write(**changes))
