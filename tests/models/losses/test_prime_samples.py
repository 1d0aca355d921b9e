"""Weights of Prime Sample Attention, by hand."""

import pytest
import torch

from mmdetlike.models.losses.prime_samples import classification_aware_weights, importance_weights, ranks_within


def test_ranks_are_by_value_within_groups():
    values = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.8])
    assert ranks_within(values, torch.tensor([0, 0, 0, 1, 1])).tolist() == [2, 0, 1, 1, 0]
    assert ranks_within(values[:0], torch.zeros(0, dtype=torch.long)).tolist() == []


def test_the_best_of_each_object_come_first():
    # two objects of one class, and one of another
    overlaps = torch.tensor([0.9, 0.8, 0.5, 0.4])
    objects = torch.tensor([0, 0, 1, 2])
    labels = torch.tensor([0, 0, 0, 1])
    weights = importance_weights(overlaps, objects, labels, torch.ones(4), k=2.0, bias=0.0)
    raw = torch.tensor([1.0, 1 / 9, 4 / 9, 1.0])
    assert weights.tolist() == pytest.approx((raw * 4 / raw.sum()).tolist(), rel=1e-5)


def test_the_sum_of_losses_stays():
    losses = torch.rand(6, 3)
    labels = torch.tensor([0, 1, 0, 1, 1, 2])
    weights = importance_weights(torch.rand(6), torch.tensor([0, 1, 0, 1, 2, 3]), labels, losses, k=2.0, bias=0.3)
    assert (weights[:, None] * losses).sum().item() == pytest.approx(losses.sum().item(), rel=1e-5)


def test_boxes_of_higher_scores_count_more_and_the_mean_is_one():
    scores = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    weights = classification_aware_weights(scores, k=1.0, bias=0.2)
    assert weights.tolist() == pytest.approx([1 / 3, 1.0, 5 / 3], rel=1e-5)
    # a worse box than the others' teaches a lower score
    (weights * torch.tensor([1.0, 1.0, 5.0])).sum().backward()
    assert scores.grad[2] > 0 > scores.grad[0]


def test_nothing_to_weigh():
    nothing = torch.zeros(0)
    inds = torch.zeros(0, dtype=torch.long)
    assert importance_weights(nothing, inds, inds, torch.zeros(0, 3)).shape == (0,)
    assert classification_aware_weights(nothing).shape == (0,)


def test_without_losses_weights_are_numbers():
    weights = importance_weights(torch.tensor([0.9, 0.5]), torch.tensor([0, 1]), torch.tensor([0, 0]), torch.zeros(2))
    assert weights.tolist() == [0, 0]
