"""Weighting and reduction, and losses of coordinates."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.losses import (
    BalancedL1Loss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    SmoothL1Loss,
    weight_reduce_loss,
)

LOSSES = [L1Loss, SmoothL1Loss, HuberLoss, BalancedL1Loss, MSELoss]
B = math.exp(3) - 1  # of the balanced loss with alpha 0.5 and gamma 1.5


def test_reductions():
    loss, weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 0.5])
    assert weight_reduce_loss(loss).item() == 2.5
    assert weight_reduce_loss(loss, reduction='sum').item() == 10
    assert weight_reduce_loss(loss, weight, 'none').tolist() == [[1, 2], [1.5, 2]]
    assert weight_reduce_loss(loss, weight).item() == 6.5 / 4
    assert weight_reduce_loss(loss, weight, avg_factor=2).item() == pytest.approx(3.25)
    assert weight_reduce_loss(loss, weight, avg_factor=torch.tensor(2)).item() == pytest.approx(3.25)
    assert weight_reduce_loss(loss, weight, 'none', avg_factor=2).tolist() == [[1, 2], [1.5, 2]]


def test_average_over_nothing_is_zero():
    assert weight_reduce_loss(torch.zeros(3), avg_factor=0).item() == 0
    assert weight_reduce_loss(torch.zeros(0)).item() == 0


@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'reduction': 'sum', 'avg_factor': 2.0}, "avg_factor=2.0 cannot be used with reduction='sum'"),
        ({'reduction': 'average'}, "one of 'none', 'mean', 'sum', but got 'average'"),
        ({'weight': torch.ones(3)}, r'weight of shape \(3,\) does not fit a loss of shape \(2, 2\)'),
        ({'weight': torch.ones(2, 2, 1)}, r'weight of shape \(2, 2, 1\) does not fit'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        weight_reduce_loss(torch.ones(2, 2), **arguments)
    assert isinstance(L1Loss(), Loss)


def test_module_arguments():
    pred, target = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])
    loss = L1Loss(loss_weight=2.0)
    assert loss(pred, target).item() == 4
    assert loss(pred, target, torch.tensor([[1.0, 0.0]])).item() == 1
    assert loss(pred, target, avg_factor=1).item() == pytest.approx(8)
    assert loss(pred, target, reduction_override='none').tolist() == [[2, 6]]
    assert L1Loss(reduction='sum')(pred, target).item() == 4
    with pytest.raises(ValueError, match='reduction must be one of'):
        L1Loss(reduction='max')
    with pytest.raises(ValueError, match='reduction must be one of'):
        loss(pred, target, reduction_override='max')


@pytest.mark.parametrize(
    'loss, error, expected',
    [
        (L1Loss(), -0.5, 0.5),
        (SmoothL1Loss(), 0.5, 0.125),
        (SmoothL1Loss(beta=0.1), -0.5, 0.45),
        (SmoothL1Loss(beta=0.0), -0.5, 0.5),
        (HuberLoss(beta=0.1), -0.5, 0.045),
        (HuberLoss(beta=0.1), 0.05, 0.00125),
        (MSELoss(), -3.0, 9.0),
        (BalancedL1Loss(), 0.5, 0.5 / B * (B * 0.5 + 1) * math.log(B * 0.5 + 1) - 0.25),
        (BalancedL1Loss(), 3.0, 4.5 + 1.5 / B - 0.5),
        (BalancedL1Loss(beta=0.1), 3.0, 4.5 + 1.5 / B - 0.05),
        (BalancedL1Loss(beta=0.1), 0.05, 0.5 / B * (B * 0.05 + 1) * math.log(B * 0.5 + 1) - 0.025),
    ],
)
def test_value_by_hand(loss, error, expected):
    assert loss(torch.tensor([error]), torch.zeros(1)).item() == pytest.approx(expected, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 1), st.floats(1, 3), st.floats(0.1, 3))
def test_balanced_loss_is_continuous_with_gradient_gamma_beyond_beta(alpha, gamma, beta):
    error = torch.tensor([beta * (1 - 1e-7), beta, beta + 1], dtype=torch.double, requires_grad=True)
    loss = BalancedL1Loss(beta=beta, alpha=alpha, gamma=gamma, reduction='none')(error, torch.zeros(3))
    loss.sum().backward()
    assert loss[0].item() == pytest.approx(loss[1].item(), rel=1e-4)
    assert error.grad[1:].tolist() == pytest.approx([gamma] * 2, rel=1e-4)


@pytest.mark.parametrize('cls', LOSSES)
def test_gradcheck(cls):
    torch.manual_seed(0)
    pred = torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: cls()(x, torch.ones(5, 4, dtype=torch.double)), pred)


@pytest.mark.parametrize('cls', LOSSES)
def test_nothing_and_zero_weight(cls):
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = cls()(pred, torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0
    full = torch.ones(2, 4, requires_grad=True)
    weighted = cls()(full, torch.zeros(2, 4), torch.zeros(2, 4), avg_factor=0)
    weighted.backward()
    assert weighted.item() == 0
    assert full.grad.abs().sum() == 0


def test_negative_beta():
    with pytest.raises(ValueError, match='beta >= 0, but got -1'):
        SmoothL1Loss(beta=-1.0)
    with pytest.raises(ValueError, match='beta > 0, but got 0'):
        BalancedL1Loss(beta=0.0)
    with pytest.raises(ValueError, match='beta > 0, but got 0'):
        HuberLoss(beta=0.0)
