"""Pictures cut into tiles, and what is found in them joined."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.engine.tile_merging import Found, merge
from mmdetlike.engine.tiling import Tiling, Window
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample


@settings(deadline=None, max_examples=50)
@given(st.integers(16, 300), st.floats(0, 0.8), st.integers(1, 500), st.integers(1, 500))
def test_tiles_cover_the_picture_and_overlap(tile, overlap, height, width):
    windows = Tiling(tile, overlap, whole=False).windows(height, width)
    covered = np.zeros((height, width), bool)
    for window in windows:
        assert 0 <= window.top < window.bottom <= height and 0 <= window.left < window.right <= width
        assert max(window.bottom - window.top, window.right - window.left) <= tile
        covered[window.top : window.bottom, window.left : window.right] = True
    assert covered.all()
    lefts = sorted({window.left for window in windows})
    assert all(b - a <= tile - int(tile * overlap) for a, b in itertools.pairwise(lefts))


def test_the_whole_picture_is_one_more_view():
    assert Tiling(100).windows(80, 100) == [Window(0, 0, 80, 100)]
    assert Tiling(100, 0.5).windows(100, 150) == [
        Window(0, 0, 100, 100),
        Window(0, 50, 100, 150),
        Window(0, 0, 100, 150),
    ]


def box_detector(objects: torch.Tensor, score=lambda window: 0.5):
    """Reads windows, and sees of objects (n, 4) what lies in each."""

    def predict(batch):
        samples = []
        for window in batch:
            low = torch.tensor([window.left, window.top]).repeat(2)
            high = torch.tensor([window.right, window.bottom]).repeat(2)
            boxes = torch.minimum(torch.maximum(objects, low), high) - low
            seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            boxes = boxes[seen].float()
            masks = torch.zeros(len(boxes), window.bottom - window.top, window.right - window.left, dtype=torch.bool)
            for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist()):
                mask[y1:y2, x1:x2] = True
            labels = torch.zeros(len(boxes), dtype=torch.long)
            scores = torch.full((len(boxes),), score(window))
            found = InstanceData(bboxes=boxes, scores=scores, labels=labels, masks=masks)
            samples.append(DetDataSample(pred_instances=found))
        return samples

    return predict


OBJECTS = torch.tensor([[5, 5, 15, 20], [60, 10, 75, 22], [100, 100, 118, 118], [20, 60, 190, 150]])


@pytest.mark.parametrize('method', ['nms', 'nmm', 'wbf'])
def test_each_object_is_found_once_with_its_box_and_mask(method):
    sizes = []

    def predict(batch):
        sizes.append(len(batch))
        return box_detector(OBJECTS, lambda window: 0.9 if window.right - window.left > 64 else 0.5)(batch)

    found = Tiling(64, 0.4, method).predict((160, 200), lambda window: window, predict, batch_size=3)
    assert max(sizes) == 3
    order = found.bboxes[:, 0].argsort()
    expected = OBJECTS[OBJECTS[:, 0].argsort()]
    assert found.bboxes[order].tolist() == expected.tolist()
    for mask, (x1, y1, x2, y2) in zip(found.masks[order], expected.tolist()):
        assert mask.shape == (160, 200)
        assert mask[y1:y2, x1:x2].all()
        assert mask.sum() == (y2 - y1) * (x2 - x1)


def test_parts_that_tiles_cut_become_one_by_merging():
    # an object longer than the overlap, and no view of the whole picture
    found = Tiling(64, 0.3, 'nmm', threshold=0.2, whole=False).predict(
        (64, 100), lambda window: window, box_detector(torch.tensor([[10, 10, 80, 50]])), batch_size=8
    )
    assert found.bboxes.tolist() == [[10, 10, 80, 50]]
    assert found.masks.sum() == 70 * 40


def objects(boxes, scores, labels) -> Found:
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return Found(boxes, torch.tensor(scores), torch.tensor(labels), torch.zeros(len(boxes), dtype=torch.bool), None, {})


def test_methods_differ_in_what_they_make_of_duplicates():
    found = objects([[0, 0, 10, 10], [0, 0, 10, 12], [0, 0, 10, 10]], [0.25, 0.75, 0.5], [0, 0, 1])
    assert merge(found, 'nms').boxes.tolist() == [[0, 0, 10, 12], [0, 0, 10, 10]]
    assert merge(found, 'nmm').boxes.tolist() == [[0, 0, 10, 12], [0, 0, 10, 10]]
    assert merge(found, 'wbf').boxes.tolist() == [[0, 0, 10, 11.5], [0, 0, 10, 10]]
    assert merge(found, 'wbf').labels.tolist() == [0, 1]


def test_nothing_found_is_nothing():
    found = Tiling(64).predict((100, 100), lambda window: window, box_detector(torch.zeros(0, 4).long()), 2)
    assert found.bboxes.shape == (0, 4) and found.masks.shape == (0, 100, 100)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(tile=8), 'tile must be an edge length of 16 pixels or more, got 8'),
        (dict(tile='640'), "edge length of 16 pixels or more, got '640'"),
        (dict(tile=64, overlap=1), 'overlap must be a share of the tile from 0 to below 1, got 1'),
        (dict(tile=64, merge='soup'), "tiles can be merged by nms, nmm, wbf, got 'soup'"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Tiling(**arguments)


def test_what_cannot_be_joined_is_named():
    sample = DetDataSample(pred_instances=InstanceData(bboxes=torch.zeros(1, 5), scores=torch.ones(1)))
    with pytest.raises(ConfigError, match=r'tiles can be joined of detectors that predict .* this one predicts bboxes'):
        Tiling(64).predict((64, 64), lambda window: window, lambda batch: [sample], 1)
