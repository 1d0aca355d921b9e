"""FSAF: cores and shadows of objects, and the level that each object is learned in."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules import CenterRegionAssigner
from tests.models.families import build
from tests.models.tiny import candidates, losses, make_sample

# a row of cells of 8 pixels, 0 to 80
CELLS = torch.stack([torch.tensor([8.0 * i, 0, 8.0 * (i + 1), 8]) for i in range(10)])
SETTINGS = dict(pos_scale=0.25, neg_scale=0.5)


def assign(boxes, labels, ignored=(), **settings):
    objects = InstanceData(bboxes=torch.tensor(boxes), labels=torch.tensor(labels))
    ignore = InstanceData(bboxes=torch.tensor(ignored).reshape(-1, 4))
    return CenterRegionAssigner(**{**SETTINGS, **settings}).assign(candidates(CELLS), objects, ignore)


def test_core_and_shadow_of_an_object():
    # its core reaches from 30 to 50, its shadow from 20 to 60
    result = assign([[0.0, 0.0, 80.0, 8.0]], [2])
    assert result.gt_inds.tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert result.shadowed.tolist() == [[2, 2], [7, 2]]


def test_a_smaller_object_wins_and_the_larger_ones_class_is_left_alone():
    result = assign([[0.0, 0.0, 80.0, 8.0], [24.0, 0.0, 40.0, 8.0]], [2, 1])
    # the core of the second reaches from 30 to 34
    assert result.gt_inds.tolist() == [0, 0, 0, 2, 2, 1, 1, 0, 0, 0]
    assert [3, 2] in result.shadowed.tolist() and [4, 2] in result.shadowed.tolist()


@pytest.mark.parametrize('dominates', [True, False])
def test_core_of_one_in_the_shadow_of_another_of_its_class(dominates):
    boxes = [[0.0, 0.0, 80.0, 8.0], [24.0, 0.0, 40.0, 8.0]]
    result = assign(boxes, [1, 1], foreground_dominate=dominates)
    assert result.gt_inds.tolist() == [0, 0, 0, *([2, 2] if dominates else [0, 0]), 1, 1, 0, 0, 0]
    assert ([3, 1] in result.shadowed.tolist()) is not dominates


def test_centers_in_the_middle_of_ignored_boxes_are_ignored():
    result = assign([[0.0, 0.0, 16.0, 8.0]], [0], ignored=[[40.0, 0.0, 80.0, 8.0]])
    # the middle half of the ignored box reaches from 50 to 70
    assert result.gt_inds.tolist() == [1, 1, 0, 0, 0, 0, -1, -1, -1, 0]


def test_an_object_is_learned_in_the_level_of_its_least_loss():
    model = build('fsaf')
    head = model.bbox_head
    sample = make_sample([[4, 4, 60, 60]])
    with torch.no_grad():
        preds = head.flatten(head(model.extract_feat(torch.rand(1, 3, 64, 64))))
    targets = head.targets(preds, [sample])
    levels = targets.pos_priors.level_ids
    assert len(levels.unique()) > 1
    per_level = torch.tensor([3.0, 1.0, 2.0])[levels]
    assert head.in_best_level(per_level, targets).equal(levels == 1)


def test_what_is_logged_is_no_loss():
    model = build('fsaf')
    terms = losses(model, [make_sample(3), make_sample(0, index=1)])
    total, log = model.parse_losses(terms)
    assert {'num_pos', 'pos_recall'} < set(log)
    expected = sum(terms['loss_cls']) + sum(terms['loss_bbox'])
    torch.testing.assert_close(total, expected)
    assert 0 <= float(log['pos_recall']) <= 1
