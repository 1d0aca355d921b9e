"""Anchors and deltas of rotated boxes that may be turned by any angle."""

import math

import pytest
import torch

from mmdetlike.models.task_modules import DeltaXYWHTurnBBoxCoder, TurnedAnchorGenerator


def test_anchors_have_each_angle_at_each_size_and_ratio():
    generator = TurnedAnchorGenerator([8], [[16, 32]], [[1.0, 4.0]], [[0.0, 0.5]])
    assert generator.num_base_priors == [8]
    (anchors,) = generator.grid_priors([(1, 2)], device='cpu')
    assert anchors[:5].tolist() == [
        [0, 0, 16, 16, 0],
        [0, 0, 16, 16, 0.5],
        [0, 0, 8, 32, 0],
        [0, 0, 8, 32, 0.5],
        [0, 0, 32, 32, 0],
    ]
    assert anchors[8].tolist() == [8, 0, 16, 16, 0]
    with pytest.raises(ValueError, match=r'angles must have one entry a stride \(1\), got 2'):
        TurnedAnchorGenerator([8], [[16]], [[1.0]], [[0.0], [0.0]])


def test_deltas_keep_sides_and_turn_the_shorter_way():
    coder = DeltaXYWHTurnBBoxCoder(target_stds=(1, 1, 1, 1, 0.5))
    prior = torch.tensor([[50.0, 50, 20, 10, math.pi - 0.1]])
    target = torch.tensor([[60.0, 45, 40, 10, -math.pi + 0.1]])
    deltas = coder.encode(prior, target)
    assert torch.allclose(deltas, torch.tensor([[0.5, -0.5, math.log(2), 0, 0.4]]), atol=1e-5)
    assert torch.allclose(coder.decode(prior, deltas), target, atol=1e-4)
    assert coder.decode(prior, deltas.repeat(1, 3)).shape == (1, 15)


def test_only_growth_is_bounded():
    coder = DeltaXYWHTurnBBoxCoder()
    box = coder.decode(torch.tensor([[0.0, 0, 16, 16, 0]]), torch.tensor([[0.0, 0, 9, -9, 0]]))[0]
    assert box[2].item() == pytest.approx(1000, rel=1e-5)
    assert box[3].item() == pytest.approx(16 * math.exp(-9), rel=1e-5)


def test_only_upright_boxes_are_cut_to_the_image():
    coder = DeltaXYWHTurnBBoxCoder()
    priors = torch.tensor([[5.0, 5, 20, 10, 0.01], [5, 5, 20, 10, 0.1]])
    boxes = coder.decode(priors, torch.zeros(2, 5), max_shape=(8, 12))
    assert torch.allclose(boxes[0], torch.tensor([6, 4, 12, 8, 0.01]), atol=1e-5)
    assert torch.allclose(boxes[1], priors[1], atol=1e-5)


def test_five_deviations_are_needed():
    with pytest.raises(ValueError, match='target_stds needs 5 numbers'):
        DeltaXYWHTurnBBoxCoder(target_stds=(1.0, 1.0))
