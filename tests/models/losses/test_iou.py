"""Losses of pairs of boxes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.losses import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    EIoULoss,
    GIoULoss,
    IoULoss,
    SIoULoss,
)

PAIR_LOSSES = [IoULoss, GIoULoss, DIoULoss, CIoULoss, EIoULoss, SIoULoss]
ALL_LOSSES = PAIR_LOSSES + [BoundedIoULoss]


def _boxes(numbers):
    corner, size = torch.tensor(numbers, dtype=torch.double).view(-1, 4).split(2, dim=1)
    return torch.cat([corner, corner + size], dim=1)


def boxes(n=4):
    coordinate = st.floats(-50, 50, width=32)
    size = st.floats(1, 60, width=32)
    one = st.tuples(coordinate, coordinate, size, size)
    return st.lists(one, min_size=n, max_size=n).map(_boxes)


# Boxes of 10 x 10 that overlap by half, (0, 0) and (5, 0): overlap 50, union 150, hull 15 x 10.
HALF = (torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[5.0, 0.0, 15.0, 10.0]]))
# Disjoint boxes of 10 x 10, 10 apart in x: hull 30 x 10.
APART = (torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[20.0, 0.0, 30.0, 10.0]]))
# Concentric 10 x 10 and 10 x 8: IoU 0.8, hull 10 x 10.
FLAT = (torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[0.0, 1.0, 10.0, 9.0]]))
_ASPECT = 4 / math.pi**2 * (math.atan(10 / 8) - math.pi / 4) ** 2


@pytest.mark.parametrize(
    'loss, pair, expected',
    [
        (IoULoss(), HALF, math.log(3)),
        (IoULoss(mode='linear'), HALF, 2 / 3),
        (IoULoss(linear=True), HALF, 2 / 3),
        (IoULoss(mode='square'), HALF, 8 / 9),
        (IoULoss(), APART, -math.log(1e-6)),
        (GIoULoss(), HALF, 2 / 3),
        (GIoULoss(), APART, 1 + 100 / 300),
        (DIoULoss(), HALF, 2 / 3 + 25 / 325),
        (DIoULoss(), APART, 1 + 400 / 1000),
        (CIoULoss(), HALF, 2 / 3 + 25 / 325),
        (CIoULoss(), FLAT, 0.2 + _ASPECT**2 / (0.2 + _ASPECT)),
        (EIoULoss(), HALF, 2 / 3 - 0.05),
        (EIoULoss(), APART, 1 + 100 / 300 - 0.05),
        (EIoULoss(smooth_point=0.5), FLAT, 0.5 * 0.2**2 / 0.5),
        # Overlap on x axis only: no angle, distance ratio (5 / 15) ** 2 with factor 2.
        (SIoULoss(neg_gamma=True), HALF, 2 / 3 + (1 - math.exp(-2 / 9)) / 2),
        (SIoULoss(neg_gamma=False), HALF, 2 / 3 + (1 - math.exp(2 / 9)) / 2),
        (SIoULoss(neg_gamma=True), FLAT, 0.2 + (1 - math.exp(-0.2)) ** 4 / 2),
        # Bounds: x 1 - 0 / 20, y 0, w 0, h 0.
        (BoundedIoULoss(), HALF, (1 - 0.1) / 4),
        # Bounds: h 1 - 8 / 10, on the parabola's end.
        (BoundedIoULoss(), FLAT, (0.2 - 0.1) / 4),
    ],
)
def test_value_by_hand(loss, pair, expected):
    assert loss(*pair).item() == pytest.approx(expected, rel=1e-3)


def test_ciou_ignores_the_aspect_ratio_of_boxes_that_overlap_little():
    pred, target = HALF[0], torch.tensor([[0.0, 0.0, 10.0, 4.0]])
    assert CIoULoss()(pred, target).item() == DIoULoss()(pred, target).item()


def test_siou_angle_cost_vanishes_the_gain_at_45_degrees():
    """The angle cost is 1 on the diagonal, which leaves the exponent 2 - 1."""
    pred = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    loss = SIoULoss(neg_gamma=True)(pred, pred + 20)
    assert loss.item() == pytest.approx(1 + (1 - math.exp(-((20 / 30) ** 2))), rel=1e-5)


@pytest.mark.parametrize('cls', ALL_LOSSES)
def test_same_boxes_have_no_loss_and_finite_gradients(cls):
    pred = torch.tensor([[0.0, 0.0, 10.0, 10.0], [-500.0, 3.0, 900.0, 800.0]], requires_grad=True)
    loss = cls()(pred, pred.detach().clone())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize('cls', ALL_LOSSES)
def test_degenerate_boxes_have_finite_gradients(cls):
    pred = torch.tensor([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 10.0, 10.0]], requires_grad=True)
    target = torch.tensor([[5.0, 5.0, 5.0, 5.0], [3.0, 3.0, 3.0, 3.0]])
    cls()(pred, target).backward()
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize('cls', [cls for cls in ALL_LOSSES if cls is not CIoULoss])  # it has a detached factor
def test_gradcheck(cls):
    torch.manual_seed(0)
    corner, size = torch.rand(5, 2) * 10, torch.rand(5, 2) * 10 + 3
    target = torch.cat([corner, corner + size], dim=1).double()
    pred = (target + torch.randn(5, 4)).requires_grad_()
    loss = cls(reduction='none')
    torch.autograd.gradcheck(lambda x: loss(x, target), pred)


def test_ciou_gradient_holds_the_trade_off_constant():
    pred, target = (b.double() for b in FLAT)
    trade_off = _ASPECT / (0.2 + _ASPECT)

    def by_definition(x):
        width, height = x[:, 2] - x[:, 0], x[:, 3] - x[:, 1]
        aspect = 4 / math.pi**2 * (math.atan(10 / 8) - torch.atan(width / height)) ** 2
        return (DIoULoss(reduction='none')(x, target) + trade_off * aspect).sum()

    gradients = []
    for function in (lambda x: CIoULoss()(x, target), by_definition):
        leaf = pred.clone().requires_grad_()
        gradients.append(*torch.autograd.grad(function(leaf), leaf))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(boxes(), boxes())
def test_bounds_and_order(pred, target):
    iou, giou, diou, ciou = (
        cls(reduction='none')(pred, target)
        for cls in (lambda **k: IoULoss(mode='linear', **k), GIoULoss, DIoULoss, CIoULoss)
    )
    assert (giou >= -1e-6).all() and (giou <= 2).all()
    assert (giou >= iou - 1e-6).all()
    assert (diou >= iou).all() and (diou <= 2).all()
    assert (ciou >= diou).all()


@settings(max_examples=25, deadline=None)
@given(boxes(), boxes(), st.floats(-100, 100))
@pytest.mark.parametrize('cls', PAIR_LOSSES)
def test_translation_and_exchange_change_nothing(cls, pred, target, shift):
    loss = cls(reduction='none')
    expected = loss(pred, target)
    torch.testing.assert_close(loss(pred + shift, target + shift), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loss(target, pred), expected)


@settings(max_examples=25, deadline=None)
@given(boxes(), boxes())
@pytest.mark.parametrize('cls', ALL_LOSSES)
def test_axes_are_alike(cls, pred, target):
    loss = cls()
    swap = [1, 0, 3, 2]
    torch.testing.assert_close(loss(pred[:, swap], target[:, swap]), loss(pred, target))


@settings(max_examples=25, deadline=None)
@given(boxes(), boxes())
def test_eiou_equals_iou_where_boxes_overlap(pred, target):
    overlap = (torch.minimum(pred[:, 2:], target[:, 2:]) > torch.maximum(pred[:, :2], target[:, :2])).all(dim=1)
    iou = IoULoss(mode='linear', reduction='none')(pred, target)
    eiou = EIoULoss(smooth_point=1e-9, reduction='none')(pred, target)
    torch.testing.assert_close(eiou[overlap], iou[overlap], atol=1e-6, rtol=0)
    assert (eiou[~overlap] >= 1 - 1e-6).all()


@pytest.mark.parametrize('cls', ALL_LOSSES)
def test_zero_weights_give_zero_with_zero_gradient(cls):
    pred = HALF[0].clone().requires_grad_()
    loss = cls()(pred, HALF[1], weight=torch.zeros(1, 4), avg_factor=1)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize('avg_factor', [None, 0])
@pytest.mark.parametrize('cls', ALL_LOSSES)
def test_no_boxes(cls, avg_factor):
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = cls()(pred, torch.zeros(0, 4), weight=torch.zeros(0, 4), avg_factor=avg_factor)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.shape == (0, 4)


def test_weight_per_coordinate_is_averaged():
    pred, target = HALF[0].repeat(4, 1), HALF[1].repeat(4, 1)
    weight = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 4)
    loss = GIoULoss(reduction='none', loss_weight=3.0)
    assert loss(pred, target, weight).tolist() == pytest.approx([1.0] * 4)
    assert loss(pred, target, weight[:, 0]).tolist() == pytest.approx([2.0] * 4)
    assert loss(pred, target, weight, avg_factor=8, reduction_override='mean').item() == pytest.approx(0.5)


def test_bounded_iou_has_no_gradient_of_the_target():
    pred, target = (b.clone().requires_grad_() for b in HALF)
    BoundedIoULoss()(pred, target).backward()
    assert target.grad is None
    assert pred.grad.abs().sum() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('cls', ALL_LOSSES)
def test_half_precision_does_not_overflow(cls, dtype):
    pred = torch.tensor([[0.0, 0.0, 1024.0, 1024.0]], dtype=dtype, requires_grad=True)
    target = torch.tensor([[512.0, 0.0, 1536.0, 1024.0]], dtype=dtype)
    loss = cls()(pred, target)
    loss.backward()
    assert loss.item() == pytest.approx(cls()(pred.detach().double(), target.double()).item(), rel=1e-5)
    assert pred.grad.isfinite().all()


def test_wrong_input():
    with pytest.raises(ValueError, match=r"'log', 'linear' or 'square', but got 'cubic'"):
        IoULoss(mode='cubic')
    with pytest.raises(ValueError, match=r'pair by pair, but got \(2, 4\) and \(3, 4\)'):
        GIoULoss()(torch.zeros(2, 4), torch.zeros(3, 4))
