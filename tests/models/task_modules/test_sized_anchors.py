"""Anchors of sizes in pixels, level by level."""

import pytest
import torch

from mmdetlike.models.task_modules import SizedAnchorGenerator
from mmdetlike.models.task_modules.bbox_coder import DeltaXYWHBBoxCoder


def test_sizes_and_ratios_of_each_level():
    generator = SizedAnchorGenerator([8, 16], [[10], [20]], [[1.0, 4.0], [1.0, 0.25]], center_offset=0.5)
    assert generator.base_anchors[0].tolist() == [[-1.0, -1.0, 9.0, 9.0], [1.5, -6.0, 6.5, 14.0]]
    assert generator.base_anchors[1].tolist() == [[-2.0, -2.0, 18.0, 18.0], [-12.0, 3.0, 28.0, 13.0]]


def test_halves_are_rounded_to_even_numbers():
    assert SizedAnchorGenerator([8], [[5]], [[1.0]], rounded=True).base_anchors[0].tolist() == [[-2.0, -2.0, 2.0, 2.0]]


def test_one_list_a_level_is_wanted():
    with pytest.raises(ValueError, match=r'sizes must have one entry a stride \(2\), got 1'):
        SizedAnchorGenerator([8, 16], [[10]], [[1.0], [1.0]])


def test_shrinking_is_bounded_unless_told_otherwise():
    prior = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]])
    deltas = torch.tensor([[0.0, 0.0, -10.0, 10.0]])
    bounded = DeltaXYWHBBoxCoder().decode(prior, deltas)[0]
    free = DeltaXYWHBBoxCoder(bound_shrinking=False).decode(prior, deltas)[0]
    assert (bounded[2] - bounded[0]).item() == pytest.approx(16)
    assert (free[2] - free[0]).item() == pytest.approx(0.0454, abs=1e-3)
    assert (free[3] - free[1]).item() == (bounded[3] - bounded[1]).item() == pytest.approx(62500)
