"""Guided anchoring: middles of objects, anchors of a free shape, cells that are dropped."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules import ApproxMaxIoUAssigner, RegionAssigner
from tests.models.families import build
from tests.models.tiny import losses, make_sample


def grid(sizes, strides, scale=2.0):
    """Square anchors at the cells of maps (size, size), a row each."""
    points, of, levels = [], [], []
    for level, (size, stride) in enumerate(zip(sizes, strides)):
        y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
        points.append(torch.stack([x, y], -1).view(-1, 2).float() * stride)
        of.append(torch.full((size**2, 2), float(stride)))
        levels.append(torch.full((size**2,), level))
    points, of = torch.cat(points), torch.cat(of)
    half = of * scale / 2
    priors = torch.cat([points - half, points + half], -1)
    return InstanceData(priors=priors, points=points, strides=of, level_ids=torch.cat(levels))


def objects(*boxes):
    return InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.zeros(len(boxes), dtype=torch.long))


def test_the_middle_is_positive_and_what_lies_around_it_ignored():
    result = RegionAssigner(0.2, 0.6).assign(grid([5, 3], [8, 16]), objects([8.0, 8.0, 24.0, 24.0]))
    expected = [[0, 0, 0, 0, 0], [0, -1, -1, -1, 0], [0, -1, 1, -1, 0], [0, -1, -1, -1, 0], [0, 0, 0, 0, 0]]
    assert result.gt_inds[:25].view(5, 5).tolist() == expected
    # on the next level its middle is one cell, ignored
    assert result.gt_inds[25:].view(3, 3).tolist() == [[0, 0, 0], [0, -1, 0], [0, 0, 0]]


def test_where_regions_overlap_the_last_object_decides():
    first, last = [8.0, 8.0, 24.0, 24.0], [16.0, 8.0, 32.0, 24.0]
    result = RegionAssigner(0.2, 0.6).assign(grid([5], [8]), objects(first, last))
    assert result.gt_inds.view(5, 5)[2].tolist() == [0, -1, -1, 2, -1]


def test_regions_without_objects_and_in_a_wrong_order():
    assert RegionAssigner().assign(grid([2], [8]), objects()).gt_inds.tolist() == [0] * 4
    with pytest.raises(ValueError, match=r'ignore_ratio must be at least center_ratio=0.5, got 0.2'):
        RegionAssigner(0.5, 0.2)


def test_a_prior_overlaps_by_the_best_of_its_anchors():
    approxs = torch.tensor([[[0, 0, 4, 8], [0, 0, 8, 8]], [[50, 50, 60, 60], [50, 50, 60, 70]]]).float()
    rows = InstanceData(priors=approxs[:, 0], approxs=approxs)
    result = ApproxMaxIoUAssigner(0.7, 0.3).assign(rows, objects([0.0, 0.0, 8.0, 8.0]))
    assert result.gt_inds.tolist() == [1, 0]
    assert result.max_overlaps.tolist() == [1.0, 0.0]


def test_cells_without_objects_are_dropped_in_testing_alone():
    head = build('ga_retinanet').bbox_head
    preds = head.flatten(head([torch.rand(1, 8, size, size) for size in (8, 4, 2)]))
    preds.maps['loc_pred'][0, ::2] = -10.0
    preds.maps['loc_pred'][0, 1::2] = 0.0
    assert (head.train().scores(preds) > 0).all()
    scores = head.eval().scores(preds)[0]
    assert (scores[::2] == 0).all() and (scores[1::2] > 0).all()


def test_anchors_have_the_predicted_shape_in_the_place_of_squares():
    head = build('ga_retinanet').bbox_head
    squares = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    anchors = head.shape_anchors(squares, torch.tensor([[2.0, 0.5]]).log())
    torch.testing.assert_close(anchors, torch.tensor([[-8.0, 4.0, 24.0, 12.0]]))


def test_shapes_learn_from_their_own_loss_alone():
    model = build('ga_retinanet')
    terms = losses(model, [make_sample(3)])
    shape = sum(terms['loss_shape'])
    rest = sum(sum(value) for name, value in terms.items() if name != 'loss_shape')
    weight = model.bbox_head.conv_shape.weight
    assert torch.autograd.grad(shape, weight, retain_graph=True)[0].any()
    assert torch.autograd.grad(rest, weight, allow_unused=True)[0] is None
