"""Grid R-CNN: grids, heatmaps of their points, boxes from points."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.grid_roi_head import JITTER, GridHead, grid_neighbors, jitter
from tests.models.families import build
from tests.models.tiny import losses, make_sample, random_boxes


def head(**kwargs):
    return GridHead(**{'num_convs': 1, 'in_channels': 2, 'point_feat_channels': 2, 'norm_cfg': None, **kwargs})


def test_neighbors_of_a_point():
    assert grid_neighbors(0, 3) == [1, 3]
    assert grid_neighbors(4, 3) == [1, 3, 5, 7]
    assert grid_neighbors(5, 3) == [2, 4, 8]


@pytest.mark.parametrize('count', [0, 1, 8, 10])
def test_grids_are_square(count):
    with pytest.raises(ConfigError, match=f'grid_points must be a square number of at least 4, got {count}'):
        head(grid_points=count)


def test_boxes_are_found_again_in_their_targets():
    boxes = torch.tensor([[20.0, 20, 48, 48], [10, 30, 66, 44]])
    gt_bboxes = torch.tensor([[16.0, 22, 50, 46], [10, 30, 66, 44]])
    grid = head()
    targets = grid.targets(boxes, gt_bboxes, 0)
    assert targets.shape == (2, 9, 28, 28) and targets.sum((2, 3)).tolist() == [[1] * 9] * 2
    found = grid.predict(targets * 20 - 10, boxes)
    # a cell is a twenty-eighth of the region
    assert bool(((found - gt_bboxes).abs() <= torch.tensor([[1.0], [2.0]])).all())


def test_radius_and_tiny_regions():
    grid = head()
    boxes = torch.tensor([[20.0, 20, 48, 48], [20, 20, 21, 48]])
    targets = grid.targets(boxes, boxes, 1)
    assert targets[0].sum((1, 2)).tolist() == [5.0] * 9
    assert not targets[1].any()


def test_jitter_keeps_boxes_near_and_inside():
    boxes = random_boxes(50)
    moved = jitter(boxes, (64, 64))
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    assert bool(((moved - boxes).abs() <= 1.5 * JITTER * size + 1.001).all()) and not torch.equal(moved, boxes)
    assert bool((moved >= 0).all()) and bool((moved <= 63).all())


def test_messages_reach_points_two_steps_away():
    grid = head().eval()
    x = torch.zeros(1, 18, 7, 7)
    base = grid(torch.zeros(1, 2, 14, 14))[0]
    grid.convs = torch.nn.Identity()
    calm = grid(x)[0]
    x[:, :2] = 1  # the first point
    changed = (grid(x)[0] - calm).flatten(2).abs().amax(2)[0] > 1e-7
    # every point at most two steps from the first one: all but 5, 7 and 8
    assert changed.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 6]
    assert base.shape == (1, 9, 28, 28)


def test_no_more_grids_than_asked_for(monkeypatch):
    model = build('grid_rcnn')
    seen = []
    monkeypatch.setattr(
        type(model.roi_head.grid_head), 'loss', lambda self, preds, targets: seen.append(len(targets)) or targets.sum()
    )
    model.roi_head.stage_cfgs[0].max_num_grid = 2
    losses(model, [make_sample(5)])
    assert seen == [2]
