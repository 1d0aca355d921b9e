"""FoveaBox: which points are in the middle of which objects."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules import FoveaAssigner
from tests.models.tiny import candidates

# two levels of a row of points, 8 and 16 pixels apart
POINTS = torch.tensor([[4.0 + 8 * i, 4.0] for i in range(8)] + [[8.0 + 16 * i, 8.0] for i in range(4)])


def assign(boxes, ranges=((1, 32), (16, 256)), sigma=0.5):
    objects = InstanceData(bboxes=torch.tensor(boxes), labels=torch.arange(len(boxes)))
    rows = candidates(POINTS, [8, 4])
    return FoveaAssigner(ranges, sigma).assign(rows, objects).gt_inds.tolist()


def test_points_in_the_fovea_of_an_object_of_their_level():
    # of size 16, for both levels; its fovea reaches from 16 to 48
    assert assign([[0.0, 2.0, 64.0, 6.0]]) == [0, 0, 1, 1, 1, 1, 0, 0] + [0, 1, 1, 0]


def test_an_object_of_another_size_is_left_alone():
    assert assign([[0.0, 0.0, 64.0, 8.0]], ranges=((1, 16), (16, 256))) == [0] * 8 + [0, 1, 1, 0]


def test_the_smallest_object_wins():
    assert assign([[0.0, 0.0, 64.0, 8.0], [24.0, 0.0, 40.0, 8.0]], ((1, 32), (99, 256)))[:8] == [0, 0, 1, 2, 2, 1, 0, 0]


def test_an_object_beyond_the_first_point_has_that():
    assert assign([[0.0, 0.0, 3.0, 3.0]], ((1, 32), (99, 256)))[:8] == [1] + [0] * 7


def test_ranges_for_another_number_of_levels_are_refused():
    with pytest.raises(ValueError, match='scale_ranges has 1 entries, got 2 levels'):
        assign([[0.0, 0.0, 64.0, 8.0]], ranges=((1, 32),))
