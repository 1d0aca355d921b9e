"""RepPoints: points near the center of an object, boxes of points."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import PointAssigner
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build


def candidates(points, strides):
    return InstanceData(points=torch.tensor(points), strides=torch.tensor(strides)[:, None].repeat(1, 2))


def objects(*boxes):
    return InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.arange(len(boxes)) + 5)


POINTS = candidates([[0.0, 0.0], [8.0, 0.0], [16.0, 0.0], [0.0, 0.0], [16.0, 0.0]], [8.0, 8.0, 8.0, 16.0, 16.0])


def test_an_object_gets_the_nearest_points_of_its_level():
    # sides of 40 are 8 * 4 and more, but not 16 * 4
    result = PointAssigner(scale=4, pos_num=2).assign(POINTS, objects([-10.0, -20.0, 30.0, 20.0]))
    assert result.gt_inds.tolist() == [0, 1, 1, 0, 0]
    assert result.labels.tolist() == [-1, 5, 5, -1, -1]


def test_sizes_beyond_all_levels_go_to_the_last_and_the_first():
    large, small = [-500.0, -500.0, 500.0, 500.0], [15.0, -1.0, 17.0, 1.0]
    result = PointAssigner(pos_num=1).assign(POINTS, objects(large, small))
    assert result.gt_inds.tolist() == [0, 0, 2, 1, 0]


def test_a_contested_point_goes_to_the_nearer_object():
    far, near = [-15.0, -20.0, 25.0, 20.0], [-12.5, -20.0, 27.5, 20.0]
    assert PointAssigner(pos_num=1).assign(POINTS, objects(far, near)).gt_inds.tolist() == [0, 2, 0, 0, 0]


def test_without_objects_all_is_background():
    result = PointAssigner().assign(POINTS, objects())
    assert result.gt_inds.tolist() == [0] * 5


@pytest.mark.parametrize(
    ('method', 'expected'), [('minmax', [0.0, 0.0, 8.0, 4.0]), ('partial_minmax', [0.0, 0.0, 4.0, 4.0])]
)
def test_boxes_enclose_points(method, expected):
    head = MODELS.build(dict(FAMILIES['reppoints']()['bbox_head'], transform_method=method))
    points = torch.tensor([[0, 0], [4, 0], [0, 4], [4, 4], [8, 0], [8, 1], [8, 2], [8, 3], [8, 4]]).float()
    assert head.enclose(points).tolist() == expected


def test_moments_are_center_and_learned_spread():
    head = MODELS.build(FAMILIES['reppoints']()['bbox_head'])
    with torch.no_grad():
        head.moment_transfer.copy_(torch.tensor([2.0, 3.0]).log())
    points = torch.rand(9, 2)
    half = points.std(0) * torch.tensor([2.0, 3.0])
    expected = torch.cat([points.mean(0) - half, points.mean(0) + half])
    torch.testing.assert_close(head.enclose(points), expected)


def test_points_begin_in_the_cell_or_on_a_grid_around_it():
    for name, reach in (('reppoints', 0.0), ('reppoints_minmax', 1.0), ('reppoints_grid', 1.0)):
        head = build(name).bbox_head
        torch.nn.init.zeros_(head.reppoints_pts_init_out.weight)
        torch.nn.init.zeros_(head.reppoints_pts_init_out.bias)
        _, points, _ = head.forward_level(0, torch.rand(1, 8, 2, 2))
        expected = [reach * value for y in (-1, 0, 1) for x in (-1, 0, 1) for value in (y, x)]
        assert points[0, :, 1, 1].tolist() == expected


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_points=8), 'num_points must be the square of an odd number above 1, got 8'),
        (dict(transform_method='mean'), "transform_method must be one of .*, got 'mean'"),
        (dict(train_cfg=dict(assigner=dict(type='PointAssigner'))), "needs 'init' and 'refine', but has .*'assigner'"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        MODELS.build(dict(FAMILIES['reppoints']()['bbox_head'], **changes))
