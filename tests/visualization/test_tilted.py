import math

import numpy as np
import pytest

from mmdetlike.structures.bbox import QuadriBoxes, RotatedBoxes
from mmdetlike.visualization import draw_boxes, draw_instances
from mmdetlike.visualization.instances import to_instances

RED = (255, 0, 0)
BOX = np.array([[50.0, 50, 60, 20, math.pi / 4]])


def red(image):
    return (image[..., 0] > 150) & (image[..., 1] < 60)


def test_outlines_lie_along_the_sides():
    blank = np.full((100, 100, 3), 255, np.uint8)
    drawn = draw_boxes(blank, BOX, [RED], line_width=2)
    y, x = np.nonzero(red(drawn))
    along = ((x + 0.5 - 50) + (y + 0.5 - 50)) / math.sqrt(2)
    across = ((y + 0.5 - 50) - (x + 0.5 - 50)) / math.sqrt(2)
    off = np.minimum(abs(abs(along) - 30), abs(abs(across) - 10))
    assert len(x) > 150 and off.max() < 2
    assert blank.min() == 255


def test_dashes_leave_gaps():
    blank = np.zeros((100, 100, 3), np.uint8)
    full = red(draw_boxes(blank, BOX, [RED], line_width=1)).sum()
    dashed = red(draw_boxes(blank, BOX, [RED], line_width=1, dashed=True)).sum()
    assert 0.25 * full < dashed < 0.8 * full


@pytest.mark.parametrize('bad', [np.nan, np.inf, 1e30])
def test_boxes_that_cannot_be_drawn_are_left_out(bad):
    boxes = np.array([[bad, 50, 60, 20, 0.1], *BOX])
    blank = np.zeros((100, 100, 3), np.uint8)
    assert np.array_equal(draw_boxes(blank, boxes, [RED] * 2), draw_boxes(blank, BOX, [RED]))


def test_instances_of_any_kind_are_drawn_enlarged_and_tagged():
    blank = np.zeros((60, 80, 3), np.uint8)
    rotated = RotatedBoxes([[40, 30, 30, 10, 0.5], [20, 20, 5, 5, 0]])
    instances = to_instances(dict(bboxes=rotated, labels=np.array([0, 1]), scores=np.array([0.5, 0.9])))
    assert instances.by_importance(0.6).boxes.tolist() == [[20, 20, 5, 5, 0]]
    assert instances.rescale(160, 120, (2, 2)).boxes[0].tolist() == pytest.approx([80, 60, 60, 20, 0.5])
    drawn = draw_instances(blank, instances, ('a', 'b'), min_side=200)
    assert drawn.shape == (200, 267, 3) and (drawn > 0).any()
    quadrilaterals = QuadriBoxes.from_plain(rotated.tensor)
    assert to_instances(dict(bboxes=quadrilaterals)).boxes == pytest.approx(rotated.numpy(), abs=1e-4)
