"""Coders of single-stage detectors, and the assigner of YOLO."""

import doctest
import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules import (
    DistancePointBBoxCoder,
    GridAssigner,
    LegacyDeltaXYWHBBoxCoder,
    PseudoBBoxCoder,
    TBLRBBoxCoder,
    YOLOBBoxCoder,
)
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes

coordinates, sides = st.floats(-50, 200, width=32), st.floats(2, 100, width=32)


@st.composite
def boxes(draw, count=3):
    rows = draw(st.lists(st.tuples(coordinates, coordinates, sides, sides), min_size=count, max_size=count))
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows])


@pytest.mark.parametrize('name', ['distance_point', 'yolo', 'delta_xywh'])
def test_docstring_examples(name):
    module = import_module(f'mmdetlike.models.task_modules.bbox_coder.{name}_bbox_coder')
    results = doctest.testmod(module, extraglobs=dict(torch=torch), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted >= 1 and results.failed == 0


ROUND_TRIPS = {
    'tblr': (TBLRBBoxCoder(), {}),
    'tblr by side': (TBLRBBoxCoder([1.0, 2.0, 3.0, 4.0]), {}),
    'pseudo': (PseudoBBoxCoder(), {}),
}


@pytest.mark.parametrize('name', ROUND_TRIPS)
@settings(max_examples=25, deadline=None)
@given(boxes(), boxes())
def test_decode_inverts_encode(name, priors, gts):
    coder, kwargs = ROUND_TRIPS[name]
    decoded = coder.decode(priors, coder.encode(priors, gts, **kwargs), **kwargs)
    torch.testing.assert_close(decoded, gts, atol=2e-2, rtol=1e-4)


@pytest.mark.parametrize('name', ['Distance', 'TBLR', 'YOLO', 'Legacy', 'Pseudo'])
def test_box_types(name):
    full = dict(Distance='DistancePointBBoxCoder', Legacy='LegacyDeltaXYWHBBoxCoder').get(name, f'{name}BBoxCoder')
    coder = TASK_UTILS.build(dict(type=f'mmdet.{full}', use_box_type=True))
    priors, gts = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[1.0, 2, 9, 8]])
    if name == 'Distance':
        decoded = coder.decode(priors[:, :2] + 5, coder.encode(priors[:, :2] + 5, HorizontalBoxes(gts)))
    else:
        extra = dict(stride=8) if name == 'YOLO' else {}
        encoded = coder.encode(HorizontalBoxes(priors), HorizontalBoxes(gts), **extra)
        decoded = coder.decode(HorizontalBoxes(priors), encoded, **extra)
    assert isinstance(decoded, HorizontalBoxes) and coder.encode_size == 4
    legacy = torch.tensor([[-0.5, -0.5, 0.5, 0.5]]) if name == 'Legacy' else 0
    torch.testing.assert_close(decoded.tensor, gts + legacy)


# -- distances of points ---------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(boxes(), st.lists(coordinates, min_size=6, max_size=6))
def test_distances_round_trip(gts, values):
    points, coder = torch.tensor(values).reshape(3, 2), DistancePointBBoxCoder()
    torch.testing.assert_close(coder.decode(points, coder.encode(points, gts)), gts, atol=1e-3, rtol=1e-4)


def test_distances_are_limited():
    coder, point, box = DistancePointBBoxCoder(), torch.tensor([[4.0, 4.0]]), torch.tensor([[5.0, 2, 90, 8]])
    assert coder.encode(point, box).tolist() == [[-1, 2, 86, 4]]
    torch.testing.assert_close(coder.encode(point, box, max_dis=16, eps=0.5), torch.tensor([[0, 2, 15.5, 4]]))


def test_distances_clip_border():
    points = torch.tensor([[4.0, 4.0]]).expand(2, 1, 2)
    distances = torch.tensor([[5.0, 1, 9, 3]]).expand(2, 1, 4)
    shapes = torch.tensor([[6, 8], [20, 30]])
    decoded = DistancePointBBoxCoder().decode(points, distances, max_shape=shapes)
    assert decoded.tolist() == [[[0, 3, 8, 6]], [[0, 3, 13, 7]]]
    free = DistancePointBBoxCoder(clip_border=False).decode(points, distances, max_shape=(6, 8))
    assert free[0].tolist() == [[-1, 3, 13, 7]]


def test_distances_of_wrong_shapes():
    coder = DistancePointBBoxCoder()
    with pytest.raises(ValueError, match=r'got \(2, 2\) and \(3, 4\)'):
        coder.encode(torch.zeros(2, 2), torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r'got \(2, 4\) and \(2, 4\)'):
        coder.decode(torch.zeros(2, 4), torch.zeros(2, 4))
    assert coder.encode(torch.zeros(0, 2), torch.zeros(0, 4)).shape == (0, 4)


# -- distances of anchors --------------------------------------------------------------------------------------------


def test_tblr_numbers():
    prior, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[2.0, 4, 6, 18]])
    # the centre is (5, 10): 6 to the top, 8 to the bottom, 3 to the left, 1 to the right
    expected = torch.tensor([[6 / 20, 8 / 20, 3 / 10, 1 / 10]])
    torch.testing.assert_close(TBLRBBoxCoder(1.0).encode(prior, box), expected)
    torch.testing.assert_close(TBLRBBoxCoder().encode(prior, box), expected / 4)
    assert TBLRBBoxCoder(1.0).decode(prior, torch.tensor([[0.3, 0.4, 0.9, 0.9]]), max_shape=(16, 12)).tolist() == [
        [0, 4, 12, 16]
    ]
    free = TBLRBBoxCoder(1.0, clip_border=False).decode(prior, torch.tensor([[0.3, 0.4, 0.9, 0.9]]), max_shape=(16, 12))
    torch.testing.assert_close(free, torch.tensor([[-4.0, 4, 14, 18]]))


# -- YOLO ------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.floats(-3.9, 3.9), st.floats(-3.9, 3.9), st.floats(1, 90), st.floats(1, 90))
def test_yolo_round_trip_within_the_cell(dx, dy, width, height):
    prior = torch.tensor([[-8.0, -4.0, 16.0, 12.0]])  # centred at (4, 4), as is the first cell of stride 8
    gt = torch.tensor([[4 + dx - width / 2, 4 + dy - height / 2, 4 + dx + width / 2, 4 + dy + height / 2]])
    coder = YOLOBBoxCoder()
    target = coder.encode(prior, gt, 8)
    assert 0 < float(target[0, 0]) < 1
    torch.testing.assert_close(coder.decode(prior, target, 8), gt, atol=1e-3, rtol=1e-4)


def test_yolo_stride_of_each_prior():
    coder = YOLOBBoxCoder()
    priors = torch.tensor([[0.0, 0, 8, 8], [0, 0, 16, 16]])
    gts = priors + 2
    strides = torch.tensor([8.0, 16.0])
    target = coder.encode(priors, gts, strides)
    torch.testing.assert_close(target[:, :2], torch.tensor([[0.75, 0.75], [0.625, 0.625]]))
    for stride in (strides, strides[:, None]):
        torch.testing.assert_close(coder.decode(priors, target, stride), gts)
    batch = coder.decode(priors.expand(3, 2, 4), target.expand(3, 2, 4), strides)
    torch.testing.assert_close(batch, gts.expand(3, 2, 4))


def test_yolo_targets_are_finite():
    coder = YOLOBBoxCoder(eps=1e-3)
    prior = torch.tensor([[0.0, 0, 8, 8]])
    target = coder.encode(prior, torch.tensor([[50.0, -90, 50, -90]]), 8)  # far away and without extent
    torch.testing.assert_close(target, torch.tensor([[0.999, 0.001, math.log(1e-3), math.log(1e-3)]]))


# -- the first version -----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(boxes(), boxes())
def test_legacy_counts_one_pixel_more(priors, gts):
    coder = LegacyDeltaXYWHBBoxCoder([0.1, 0.0, 0.0, -0.2], [0.1, 0.1, 0.2, 0.2])
    decoded = coder.decode(priors, coder.encode(priors, gts), max_shape=None)
    torch.testing.assert_close(decoded, gts + torch.tensor([-0.5, -0.5, 0.5, 0.5]), atol=3e-2, rtol=1e-4)


def test_legacy_numbers():
    deltas = LegacyDeltaXYWHBBoxCoder().encode(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[5.0, 0, 24, 9]]))
    torch.testing.assert_close(deltas, torch.tensor([[1.0, 0, math.log(2), 0]]))


# -- GridAssigner ----------------------------------------------------------------------------------------------------


def assign(priors, flags, gts, pos=0.5, neg=0.4, **kwargs):
    gts = torch.tensor(gts, dtype=torch.float32).reshape(-1, 4)
    priors = InstanceData(priors=torch.tensor(priors, dtype=torch.float32), responsible_flags=torch.tensor(flags))
    gts = InstanceData(bboxes=gts, labels=torch.arange(len(gts)) + 5)
    return GridAssigner(pos, neg, **kwargs).assign(priors, gts)


def test_grid_assigner_takes_priors_of_the_cell_only():
    priors = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [40, 40, 50, 50]]
    result = assign(priors, [0, 1, 1, 0], [[0, 0, 10, 10]])
    # the first overlaps best, but lies in another cell; the third is the same cell's, at 0.5, which is not enough
    assert result.gt_inds.tolist() == [-1, 1, -1, 0]
    assert result.labels.tolist() == [-1, 5, -1, -1]
    torch.testing.assert_close(result.max_overlaps, torch.tensor([-1, 0.9, 0.5, -1]))


def test_grid_assigner_gives_each_object_its_best_prior():
    priors = [[0, 0, 10, 3], [0, 0, 10, 2], [0, 8, 10, 11]]
    one = [[0, 0, 10, 10]]
    assert assign(priors, [1, 1, 0], one).gt_inds.tolist() == [1, 0, 0]
    assert assign(priors, [1, 1, 0], one, min_pos_iou=0.3).gt_inds.tolist() == [0, 0, 0]
    assert assign(priors, [0, 0, 0], one).gt_inds.tolist() == [0, 0, 0]
    # an object that overlaps no prior takes none
    assert assign(priors, [1, 1, 1], [[50, 50, 60, 60]]).gt_inds.tolist() == [0, 0, 0]


def test_grid_assigner_ties_and_contests():
    priors = [[0, 0, 10, 3], [0, 7, 10, 10]]
    assert assign(priors, [1, 1], [[0, 0, 10, 10]]).gt_inds.tolist() == [1, 1]
    assert assign(priors, [1, 1], [[0, 0, 10, 10]], gt_max_assign_all=False).gt_inds.tolist() == [1, 0]
    contested = assign([[0, 0, 10, 4]], [1], [[0, 0, 10, 8], [0, 0, 10, 16]], pos=0.9)
    assert contested.gt_inds.tolist() == [2] and contested.labels.tolist() == [6]


def test_grid_assigner_thresholds():
    priors = [[0, 0, 10, 4], [0, 0, 10, 2], [0, 0, 10, 9]]
    # 0.4 is background, inclusive; with a range (0.2, 0.4] the overlap of 0.2 is ignored
    assert assign(priors, [0, 0, 1], [[0, 0, 10, 10]]).gt_inds.tolist() == [0, 0, 1]
    assert assign(priors, [0, 0, 1], [[0, 0, 10, 10]], neg=(0.2, 0.4)).gt_inds.tolist() == [0, -1, 1]


def test_grid_assigner_without_objects():
    result = assign([[0, 0, 10, 4]], [0], [])
    assert result.gt_inds.tolist() == [0] and result.labels.tolist() == [-1] and result.num_gts == 0
