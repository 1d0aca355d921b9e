"""AutoAssign: which points belong to which objects, and by how much they are background."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.models.heads.dense import CenterPrior
from mmdetlike.models.heads.dense.autoassign_head import Pairs, background_weights, center_loss
from mmdetlike.models.task_modules import Priors
from tests.models.families import build
from tests.models.tiny import losses, make_sample

POINTS = torch.tensor([[0.0, 0.0], [8.0, 0.0], [16.0, 0.0], [24.0, 0.0]])
PRIORS = Priors(POINTS, torch.full((4, 2), 8.0), torch.zeros(4, dtype=torch.long))


def objects(boxes, labels):
    return InstanceData(bboxes=torch.tensor(boxes), labels=torch.tensor(labels))


def test_points_in_an_object_weigh_by_their_distance_from_its_center():
    prior = CenterPrior(num_classes=2)
    with torch.no_grad():
        prior.mean[1, 0] = 1.0
        prior.sigma[1] = 2.0
    pairs = prior(PRIORS, objects([[-4.0, -4.0, 20.0, 4.0], [4.0, -4.0, 12.0, 4.0]], [1, 0]))
    assert pairs.objects.tolist() == [0, 0, 0, 1] and pairs.points.tolist() == [0, 1, 2, 1]
    # one stride right of the first object's center at 8, with a deviation of two strides
    strides_off = torch.tensor([-2.0, -1.0, 0.0])
    expected = torch.cat([(-strides_off.square() / 8).exp(), torch.ones(1)])
    torch.testing.assert_close(pairs.weights, expected)


@pytest.mark.parametrize(('force', 'points'), [(False, []), (True, [2, 3])])
def test_an_object_between_points(force, points):
    pairs = CenterPrior(num_classes=1, force_topk=force, topk=2)(PRIORS, objects([[18.0, 2.0, 22.5, 6.0]], [0]))
    assert sorted(pairs.points.tolist()) == points


def test_the_best_boxes_of_an_object_are_no_background():
    boxes = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [0.0, 0.0, 10.0, 5.0], [50.0, 50.0, 60.0, 60.0]]
    )
    pairs = Pairs(torch.zeros(3).long(), torch.arange(3), torch.ones(3).long(), torch.ones(3), 1)
    weights = background_weights(torch.rand(4, 2), boxes, torch.tensor([[0.0, 0.0, 10.0, 9.0]]), pairs)
    # IoU 0.9, 8/9 and 5/9: 1 / (1 - IoU) is 10, 9 and 2.25
    assert weights[:, 0].tolist() == [1.0] * 4
    torch.testing.assert_close(weights[:, 1], torch.tensor([0.0, 1 - 6.75 / 7.75, 1.0, 1.0]), atol=1e-5, rtol=0)


def test_center_loss_without_a_point_in_any_object():
    empty = torch.zeros(0).long()
    assert float(center_loss(Pairs(empty, empty, empty, torch.zeros(0), 3))) == 0


def test_an_object_that_no_point_detects_has_a_finite_gradient():
    model = build('autoassign')
    terms = losses(model, [make_sample([[0.5, 0.5, 1.5, 1.5]])])
    assert float(terms['loss_pos'].detach()) == pytest.approx(0.25 * 100)
    sum(terms.values()).backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.parameters())
