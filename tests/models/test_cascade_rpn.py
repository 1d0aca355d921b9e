"""Cascade RPN: taps of a convolution on a grid over each anchor, stages."""

import pytest
import torch

from mmdetlike.models.heads.dense.cascade_rpn_head import AdaptiveConv, anchor_offsets
from mmdetlike.models.task_modules import Priors
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES


def test_taps_lie_on_a_grid_over_the_anchor():
    box = torch.tensor([[8.0, 16.0, 40.0, 32.0]])
    start = Priors(torch.tensor([[16.0, 24.0]]), torch.tensor([[8.0, 8.0]]), torch.tensor([0]))
    offsets = anchor_offsets(start.moved_to(box), torch.tensor([[2.0, 3.0]])).view(9, 2)
    taps = [(3 + y, 2 + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    # in cells of 8 pixels the anchor reaches from y = 2 to 4 and from x = 1 to 5
    grid = [(y, x) for y in (2, 3, 4) for x in (1, 3, 5)]
    torch.testing.assert_close(torch.tensor(taps) + offsets, torch.tensor(grid).float())


def test_settings_that_make_no_sense():
    head = FAMILIES['cascade_rpn']()['rpn_head']
    with pytest.raises(ValueError, match='num_stages=3 needs as many stages and entries of train_cfg, got 2 and 3'):
        MODELS.build(dict(head, num_stages=3))
    with pytest.raises(ValueError, match=r"adapt_cfg.type must be 'dilation' or 'offset', got 'none'"):
        AdaptiveConv(8, 8, type='none')
