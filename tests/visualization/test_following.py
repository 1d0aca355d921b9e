"""Objects of a video keep their numbers and their colors."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.visualization import InstanceFollower, Style, draw_instances
from mmdetlike.visualization.color_mode import ColorMode


def frame(boxes, labels=None):
    labels = torch.zeros(len(boxes), dtype=torch.long) if labels is None else torch.tensor(labels)
    return InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=labels)


def test_an_object_keeps_its_number():
    follow = InstanceFollower()
    assert follow(frame([[0, 0, 10, 10], [50, 50, 60, 60]])).tolist() == [0, 1]
    # both have moved by a pixel, and are named in the other order; a third one has come
    assert follow(frame([[51, 50, 61, 60], [1, 0, 11, 10], [80, 0, 90, 9]])).tolist() == [1, 0, 2]
    # too far away to be the same
    assert follow(frame([[8, 0, 18, 10]])).tolist() == [3]
    assert follow(frame([])).tolist() == []
    # what was lost is not found again
    assert follow(frame([[8, 0, 18, 10]])).tolist() == [4]


def test_another_class_is_another_object():
    follow = InstanceFollower()
    follow(frame([[0, 0, 10, 10]], [0]))
    assert follow(frame([[0, 0, 10, 10]], [1])).tolist() == [1]


def test_each_object_of_the_last_frame_is_one_of_this():
    follow = InstanceFollower(iou_thr=0.5)
    follow(frame([[0, 0, 10, 10]]))
    assert follow(frame([[1, 0, 11, 10], [0, 0, 10, 10]])).tolist() == [1, 0]


def color_at(ids, box, mode=ColorMode.IMAGE):
    instances = InstanceData(
        bboxes=torch.tensor([[2.0, 2, 40, 40], [50, 2, 90, 40]]),
        labels=torch.tensor([0, 0]),
        scores=torch.tensor([0.9, 0.8]),
        instances_ids=torch.tensor(ids),
    )
    drawn = draw_instances(np.full((100, 100, 3), 255, np.uint8), instances, ('x',), style=Style(color_mode=mode))
    x, y = box
    return drawn[y, x].tolist()


@pytest.mark.parametrize(('ids', 'same'), [([3, 5], True), ([4, 3], False)])
def test_numbers_are_colors(ids, same):
    left, right = (2, 30), (50, 30)
    assert (color_at(ids, left) == color_at([3, 5], left)) is same
    assert color_at([3, 5], right) != color_at([3, 5], left)
    # the number decides, not the place among the objects
    assert color_at([5, 3], left) == color_at([3, 5], right)
    assert color_at(ids, left, ColorMode.SEGMENTATION) == color_at(ids, right, ColorMode.SEGMENTATION)
