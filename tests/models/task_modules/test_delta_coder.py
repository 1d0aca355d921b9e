"""DeltaXYWHBBoxCoder: numbers, inverse, clipping, and boxes of several classes or images at once."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.task_modules import DeltaXYWHBBoxCoder
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes

coordinates = st.floats(-50, 200, width=32)
sides = st.floats(2, 100, width=32)


@st.composite
def boxes(draw, count=3):
    rows = draw(st.lists(st.tuples(coordinates, coordinates, sides, sides), min_size=count, max_size=count))
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows])


def test_encode_numbers():
    priors, gts = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 5, 25, 25]])
    deltas = DeltaXYWHBBoxCoder().encode(priors, gts)
    torch.testing.assert_close(deltas, torch.tensor([[1.0, 0.25, math.log(2), 0.0]]))
    scaled = DeltaXYWHBBoxCoder([0.5, 0.0, 0.0, 1.0], [0.1, 0.1, 0.2, 0.2]).encode(priors, gts)
    torch.testing.assert_close(scaled, torch.tensor([[5.0, 2.5, math.log(2) / 0.2, -5.0]]))


def test_decode_numbers():
    rois = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 5, 5]])
    deltas = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 2, -1], [0.7, -1.9, -0.5, 0.3]])
    decoded = DeltaXYWHBBoxCoder().decode(rois, deltas, max_shape=(32, 32))
    expected = [[0, 0, 1, 1], [0.1409, 0.1409, 2.8591, 2.8591], [0, 0.3161, 4.1945, 0.6839], [5, 5, 5, 5]]
    torch.testing.assert_close(decoded, torch.tensor(expected), atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(boxes(), boxes(), st.booleans())
def test_decode_inverts_encode(priors, gts, normalised):
    means, stds = ([0.1, -0.2, 0.3, 0.0], [0.1, 0.1, 0.2, 0.2]) if normalised else ([0.0] * 4, [1.0] * 4)
    coder = DeltaXYWHBBoxCoder(means, stds)
    torch.testing.assert_close(coder.decode(priors, coder.encode(priors, gts)), gts, atol=2e-2, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(boxes(), st.lists(st.floats(-20, 20, width=32), min_size=12, max_size=12))
def test_decoded_boxes_are_boxes_inside_the_image(priors, values):
    deltas = torch.tensor(values).reshape(3, 4)
    decoded = DeltaXYWHBBoxCoder().decode(priors, deltas, max_shape=(60, 90))
    assert bool((decoded >= 0).all())
    assert bool((decoded[:, 0::2] <= 90).all()) and bool((decoded[:, 1::2] <= 60).all())
    assert bool((decoded[:, 2:] >= decoded[:, :2]).all())


def test_clip_border():
    priors, deltas = torch.tensor([[0.0, 0, 40, 40]]), torch.tensor([[0.5, 0.0, 0, 0]])
    decode = lambda coder, shape: coder.decode(priors, deltas, max_shape=shape).tolist()[0]  # noqa: E731
    assert decode(DeltaXYWHBBoxCoder(), (30, 50)) == [20, 0, 50, 30]
    assert decode(DeltaXYWHBBoxCoder(), (30, 50, 3)) == [20, 0, 50, 30]
    assert decode(DeltaXYWHBBoxCoder(), torch.tensor([30, 50])) == [20, 0, 50, 30]
    assert decode(DeltaXYWHBBoxCoder(clip_border=False), (30, 50)) == [20, 0, 60, 40]
    assert decode(DeltaXYWHBBoxCoder(), None) == [20, 0, 60, 40]


def test_growth_is_limited():
    priors, deltas = torch.tensor([[-50.0, -50, 50, 50]]), torch.tensor([[0.0, 0, 100, -100]])
    grown = DeltaXYWHBBoxCoder().decode(priors, deltas)[0]
    width, height = float(grown[2] - grown[0]), float(grown[3] - grown[1])
    assert width == pytest.approx(100 * 1000 / 16, rel=1e-5) and height == pytest.approx(100 * 16 / 1000, rel=1e-3)
    grown = DeltaXYWHBBoxCoder().decode(priors, deltas, wh_ratio_clip=0.5)[0]
    torch.testing.assert_close(grown, torch.tensor([-100.0, -25, 100, 25]))


def test_add_ctr_clamp():
    coder = DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=8)
    priors = torch.tensor([[0.0, 0, 100, 100]] * 2)
    deltas = torch.tensor([[0.5, -0.5, 0, 0], [0.05, 0, 100, -100]])
    decoded = coder.decode(priors, deltas, wh_ratio_clip=0.5)
    torch.testing.assert_close(decoded[0], torch.tensor([8.0, -8, 108, 92]))
    # the centre moves 5 pixels, growth stops at 2, shrinking has no limit
    torch.testing.assert_close(decoded[1], torch.tensor([-45.0, 50, 155, 50]))
    free = DeltaXYWHBBoxCoder(ctr_clamp=8).decode(priors, deltas)
    torch.testing.assert_close(free[0], torch.tensor([50.0, -50, 150, 50]))


def test_several_boxes_of_each_prior():
    coder = DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
    torch.manual_seed(0)
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 30, 60, 40]])
    deltas = torch.randn(2, 3 * 4)
    decoded = coder.decode(priors, deltas, max_shape=(50, 50))
    assert decoded.shape == (2, 12)
    for k in range(3):
        part = slice(4 * k, 4 * k + 4)
        torch.testing.assert_close(decoded[:, part], coder.decode(priors, deltas[:, part], max_shape=(50, 50)))


@pytest.mark.parametrize('as_tensor', [False, True])
@pytest.mark.parametrize('classes', [1, 2])
def test_batch_with_a_shape_of_each_image(as_tensor, classes):
    coder = DeltaXYWHBBoxCoder()
    torch.manual_seed(0)
    priors, deltas = torch.tensor([[0.0, 0, 80, 80], [10, 10, 20, 90]]).expand(2, 2, 4), torch.randn(2, 2, 4 * classes)
    shapes = [(40, 60), (100, 30)]
    decoded = coder.decode(priors, deltas, max_shape=torch.tensor(shapes) if as_tensor else shapes)
    for i, shape in enumerate(shapes):
        torch.testing.assert_close(decoded[i], coder.decode(priors[i], deltas[i], max_shape=shape))


def test_empty():
    coder = DeltaXYWHBBoxCoder()
    assert coder.encode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)
    assert coder.decode(torch.zeros(0, 4), torch.zeros(0, 8), max_shape=(4, 4)).shape == (0, 8)


def test_box_types():
    coder = TASK_UTILS.build(dict(type='mmdet.DeltaXYWHBBoxCoder', use_box_type=True))
    priors, gts = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[1.0, 2, 9, 8]])
    deltas = coder.encode(HorizontalBoxes(priors), HorizontalBoxes(gts))
    decoded = coder.decode(HorizontalBoxes(priors), deltas)
    assert isinstance(decoded, HorizontalBoxes)
    torch.testing.assert_close(decoded.tensor, gts)
    assert coder.encode_size == 4


def test_half_precision_targets_are_encoded_in_float32():
    deltas = DeltaXYWHBBoxCoder().encode(torch.tensor([[0.0, 0, 8, 8]]).half(), torch.tensor([[0.0, 0, 16, 8]]).half())
    assert deltas.dtype == torch.float32
    torch.testing.assert_close(deltas, torch.tensor([[0.5, 0, math.log(2), 0]]))


def test_decode_has_gradients():
    deltas = torch.zeros(1, 4, requires_grad=True)
    DeltaXYWHBBoxCoder().decode(torch.tensor([[0.0, 0, 10, 20]]), deltas)[:, 2:].sum().backward()
    torch.testing.assert_close(deltas.grad, torch.tensor([[10.0, 20.0, 5.0, 10.0]]))
