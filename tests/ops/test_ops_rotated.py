import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, Polygon

from mmdetlike_ops import (
    batched_nms,
    bbox_overlaps,
    box_iou_quadri,
    box_iou_rotated,
    nms,
    nms_quadri,
    nms_rotated,
    rotated_boxes_from_detectron2,
    rotated_boxes_to_detectron2,
)

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.fixture
def random_rotated(rng):
    """Makes n rotated boxes with centres in an image of 120 x 150 pixels."""

    def make(n, largest=60.0):
        unit = torch.rand(n, 5, generator=rng)
        return unit * torch.tensor([150, 120, largest, largest, 2 * math.pi]) + torch.tensor([0, 0, 4, 4, -math.pi])

    return make


def corners(boxes):
    """(n, 8) corners of rotated boxes, by turning them as complex numbers."""
    turn = torch.polar(torch.ones_like(boxes[:, 4]), boxes[:, 4])[:, None]
    around = torch.complex(boxes[:, 2:3] * torch.tensor([-1, 1, 1, -1]), boxes[:, 3:4] * torch.tensor([-1, -1, 1, 1]))
    return torch.view_as_real(around / 2 * turn + torch.complex(boxes[:, :1], boxes[:, 1:2])).flatten(1)


def shapely_iou(a, b, mode='iou'):
    """(n, m) overlaps of quadrilaterals, n x 8 and m x 8."""
    first, second = ([Polygon(q.reshape(4, 2)) for q in quads.double().numpy()] for quads in (a, b))
    rows = [[p.intersection(q).area / (p.area if mode == 'iof' else p.union(q).area) for q in second] for p in first]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(first), len(second))


def greedy(overlaps, scores, threshold, labels=None):
    """The definition, one box after another."""
    kept = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        rivals = [j for j in kept if labels is None or labels[i] == labels[j]]
        if not any(overlaps[j, i] > threshold for j in rivals):
            kept.append(i)
    return kept


def test_recorded_overlaps(recording):
    for case, inputs, expected in recording.select('box_iou_rotated'):
        out = box_iou_rotated(**inputs, **case['settings'])
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-6)


def test_recorded_suppression(recording):
    for case, inputs, expected in recording.select('nms_rotated'):
        dets, kept = nms_rotated(**inputs, iou_threshold=case['settings']['iou_threshold'])
        assert kept.tolist() == expected('kept').tolist()
        torch.testing.assert_close(dets, expected('dets'), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_overlaps_of_shapely(random_rotated, mode):
    a, b = random_rotated(40).double(), random_rotated(30).double()
    expected = shapely_iou(corners(a), corners(b), mode)
    assert (expected > 0).float().mean() > 0.1
    torch.testing.assert_close(box_iou_rotated(a, b, mode), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(box_iou_quadri(corners(a), corners(b), mode), expected, rtol=1e-9, atol=1e-12)
    aligned = box_iou_rotated(a[:30], b, mode, aligned=True)
    torch.testing.assert_close(aligned, expected[:30].diagonal(), rtol=1e-9, atol=1e-12)


def test_a_box_by_hand():
    a = torch.tensor([[0.0, 0, 2, 2, 0]])
    b = torch.tensor([[0.0, 0, 2, 2, math.pi / 4], [1, 0, 2, 2, 0], [2, 0, 2, 2, 0], [0, 0, 4, 4, 0.3]])
    octagon = 8 * (math.sqrt(2) - 1)
    expected = torch.tensor([[octagon / (8 - octagon), 1 / 3, 0, 4 / 16]])
    torch.testing.assert_close(box_iou_rotated(a, b), expected)
    torch.testing.assert_close(box_iou_rotated(a, b, 'iof'), torch.tensor([[octagon / 4, 0.5, 0, 1]]))


def test_clockwise_turns_right_side_down():
    """In an image, where y points down, a long box turned clockwise by 30 degrees reaches below its centre right."""
    right_below = torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6), 0.01, 0.01, 0]]) * 9
    long = torch.tensor([[0, 0, 20, 1, math.pi / 6]])
    assert box_iou_rotated(right_below, long, 'iof').item() == pytest.approx(1, abs=1e-3)
    assert box_iou_rotated(right_below, long, 'iof', clockwise=False).item() == 0
    long[:, 4].neg_()
    assert box_iou_rotated(right_below, long, 'iof', clockwise=False).item() == pytest.approx(1, abs=1e-3)


@given(st.integers(0, 10**6), st.floats(-7, 7))
@settings(max_examples=25, deadline=None)
def test_overlaps_do_not_depend_on_the_frame(seed, angle):
    generator = torch.Generator().manual_seed(seed)
    scale, shift = torch.tensor([40, 40, 30, 30, 6.0]), torch.tensor([0, 0, 1, 1, -3.0])
    a, b = (torch.rand(n, 5, generator=generator, dtype=torch.float64) * scale + shift for n in (6, 7))
    overlaps = box_iou_rotated(a, b)
    turn = a.new_tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    moved = [torch.cat([x[:, :2] @ turn + 17, x[:, 2:4], x[:, 4:] + angle], dim=1) for x in (a, b)]
    torch.testing.assert_close(box_iou_rotated(*moved), overlaps, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(box_iou_rotated(b, a).T, overlaps, rtol=1e-9, atol=1e-12)
    sides_swapped = a[:, [0, 1, 3, 2, 4]] + a.new_tensor([0, 0, 0, 0, math.pi / 2])
    torch.testing.assert_close(box_iou_rotated(sides_swapped, b), overlaps, rtol=1e-6, atol=1e-9)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()


@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_angle_zero_is_the_axis_aligned_overlap(random_boxes, mode):
    a, b = random_boxes(50), random_boxes(40)
    rotated = [torch.cat([(x[:, :2] + x[:, 2:]) / 2, x[:, 2:] - x[:, :2], x.new_zeros(len(x), 1)], 1) for x in (a, b)]
    quads = [x[:, [0, 1, 2, 1, 2, 3, 0, 3]] for x in (a, b)]
    expected = bbox_overlaps(a, b, mode)
    torch.testing.assert_close(box_iou_rotated(*rotated, mode), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(box_iou_quadri(*quads, mode), expected, rtol=1e-4, atol=1e-5)


def test_order_of_corners_and_concave_corners():
    quad = torch.tensor([[0.0, 0, 4, 0, 5, 3, 1, 4]])
    other = torch.tensor([[1.0, 1, 6, 1, 6, 3, 1, 3]])
    expected = shapely_iou(quad, other)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]):
        turned = quad.reshape(4, 2)[order].reshape(1, 8)
        torch.testing.assert_close(box_iou_quadri(turned, other).double(), expected, rtol=1e-5, atol=1e-6)
    dented = torch.tensor([[0.0, 0, 4, 0, 1, 1, 0, 4]])
    hull = MultiPoint(dented.reshape(4, 2).numpy()).convex_hull
    assert box_iou_quadri(dented, dented[:, [0, 1, 2, 3, 6, 7, 6, 7]]).item() == pytest.approx(1)
    assert hull.area == 8


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('far', [0.0, 1e3, 2.0**20])
def test_identical_and_touching_boxes_anywhere(random_rotated, dtype, far):
    boxes = random_rotated(300).to(dtype)
    boxes[:, :2] = boxes[:, :2].round() + far
    torch.testing.assert_close(box_iou_rotated(boxes, boxes, aligned=True), torch.ones(300, dtype=dtype))
    near = boxes.clone()
    near[:, 4] += math.pi
    torch.testing.assert_close(box_iou_rotated(boxes, near, aligned=True), torch.ones(300, dtype=dtype))
    beside = boxes.clone()
    beside[:, 2] /= 2
    ratio = box_iou_rotated(beside, boxes, aligned=True)
    torch.testing.assert_close(ratio, torch.full((300,), 0.5, dtype=dtype), rtol=1e-5, atol=1e-5)


def test_far_from_the_origin_nothing_is_lost():
    here = torch.tensor([[0.0, 0, 8, 4, 0.5], [2, 1, 6, 6, -0.4]])
    far = here + torch.tensor([2.0**22, -(2.0**21), 0, 0, 0])
    assert torch.equal(box_iou_rotated(far, far), box_iou_rotated(here, here))
    squares = torch.tensor([[0.0, 0, 8, 0, 8, 8, 0, 8], [4, 0, 12, 0, 12, 8, 4, 8]])
    assert torch.equal(box_iou_quadri(squares + 2.0**22, squares + 2.0**22), box_iou_quadri(squares, squares))


def test_thin_boxes():
    thin = torch.tensor([[50.0, 50, 100, 0.01, 0.7], [50, 50, 100, 0.02, 0.7]])
    torch.testing.assert_close(box_iou_rotated(thin, thin)[0], torch.tensor([1, 0.5]), rtol=2e-3, atol=0)


NO_BOXES = [
    [0, 0, 0, 4, 0],
    [0, 0, 4, 0, 1],
    [0, 0, -4, 4, 0],
    [float('nan'), 0, 4, 4, 0],
    [0, 0, float('nan'), 4, 0],
    [0, 0, 4, 4, float('nan')],
    [0, 0, 4, 4, float('inf')],
    [float('inf'), 0, 4, 4, 0],
]


@pytest.mark.parametrize('op', ['rotated', 'quadri'])
def test_boxes_without_sense_overlap_nothing(op):
    boxes = torch.tensor([[0.0, 0, 4, 4, 0.1], *NO_BOXES])
    if op == 'quadri':
        boxes = torch.cat([torch.tensor([[-2.0, -2, 2, -2, 2, 2, -2, 2]]), corners(boxes[1:])])
        boxes[3] = 7.0
    iou, suppress = (box_iou_rotated, nms_rotated) if op == 'rotated' else (box_iou_quadri, nms_quadri)
    out = iou(boxes, boxes)
    assert out[0, 0] == pytest.approx(1)
    assert out.sum() == out[0, 0]
    assert len(suppress(boxes, torch.rand(len(boxes)), 0.0)[1]) == len(boxes)


def test_absurdly_large_boxes_are_safe():
    boxes = torch.tensor([[0, 0, 1e30, 1e30, 0.3], [1e30, 0, 3e38, 1, 1], [0, 0, 1e-30, 1e-30, 0], [0, 0, 4, 4, 0.3]])
    out = box_iou_rotated(boxes, boxes)
    assert ((out >= 0) & (out <= 1)).all()
    assert (box_iou_quadri(corners(boxes), corners(boxes)) >= 0).all()


@pytest.mark.parametrize('n', [0, 1, 15, 16, 17, 400])
@pytest.mark.parametrize('threshold', [0.0, 0.1, 0.5, 1.0])
def test_suppression_is_what_the_definition_says(random_rotated, rng, n, threshold):
    boxes, scores = random_rotated(n), torch.rand(n, generator=rng)
    labels = torch.randint(-1, 3, (n,), generator=rng)
    quads = corners(boxes)
    for groups in (None, labels):
        kept = nms_rotated(boxes, scores, threshold, groups)[1].tolist()
        assert kept == greedy(box_iou_rotated(boxes, boxes), scores, threshold, groups)
        kept = nms_quadri(quads, scores, threshold, groups)[1].tolist()
        assert kept == greedy(box_iou_quadri(quads, quads), scores, threshold, groups)


@given(st.integers(0, 60), st.floats(0.05, 0.95), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_suppression_is_idempotent_and_permutation_invariant(n, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(n, 5, generator=generator) * torch.tensor([50, 50, 40, 40, 6.0])
    scores = torch.randperm(n, generator=generator) / max(n, 1)
    dets, kept = nms_rotated(boxes, scores, threshold)
    assert torch.equal(nms_rotated(dets[:, :5], dets[:, 5], threshold)[0], dets)
    shuffle = torch.randperm(n, generator=generator)
    assert torch.equal(shuffle[nms_rotated(boxes[shuffle], scores[shuffle], threshold)[1]], kept)


def test_angle_zero_suppresses_like_nms(random_boxes, rng):
    boxes, scores = random_boxes(300), torch.rand(300, generator=rng)
    rotated = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], boxes.new_zeros(300, 1)], 1)
    assert nms_rotated(rotated, scores, 0.3)[1].tolist() == nms(boxes, scores, 0.3)[1].tolist()


def test_counter_clockwise_suppression_returns_boxes_as_given(random_rotated, rng):
    boxes, scores = random_rotated(100), torch.rand(100, generator=rng)
    mirrored = boxes * torch.tensor([1, 1, 1, 1, -1])
    dets, kept = nms_rotated(mirrored, scores, 0.2, clockwise=False)
    assert kept.tolist() == nms_rotated(boxes, scores, 0.2)[1].tolist()
    assert kept.tolist() != nms_rotated(mirrored, scores, 0.2)[1].tolist()
    assert torch.equal(dets, torch.cat([mirrored[kept], scores[kept, None]], 1))


def test_batched_nms_reads_the_type(random_rotated, rng):
    boxes, scores = random_rotated(200), torch.rand(200, generator=rng)
    labels = torch.randint(0, 4, (200,), generator=rng)
    config = {'type': 'nms_rotated', 'iou_thr': 0.2, 'max_num': 30}
    dets, kept = batched_nms(boxes, scores, labels, config)
    expected = nms_rotated(boxes, scores, 0.2, labels)
    assert torch.equal(kept, expected[1][:30])
    assert torch.equal(dets, expected[0][:30])
    agnostic = batched_nms(boxes, scores, labels, {**config, 'max_num': -1}, class_agnostic=True)[1]
    assert torch.equal(agnostic, nms_rotated(boxes, scores, 0.2)[1])
    turned = batched_nms(boxes, scores, labels, {**config, 'clockwise': False})[1]
    assert torch.equal(turned, nms_rotated(boxes, scores, 0.2, labels, clockwise=False)[1][:30])
    quads = corners(boxes)
    kept = batched_nms(quads, scores, labels, {'type': 'nms_quadri', 'iou_threshold': 0.2})[1]
    assert torch.equal(kept, nms_quadri(quads, scores, 0.2, labels)[1])
    assert batched_nms(quads, scores, labels, None)[0].shape == (200, 9)


@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes_and_strides(random_rotated, rng, dtype):
    boxes, scores = random_rotated(60).to(dtype), torch.rand(60, generator=rng).to(dtype)
    strided = boxes.T.contiguous().T
    out = box_iou_rotated(strided, boxes[:20])
    assert out.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-9, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    exact = box_iou_rotated(boxes.double(), boxes[:20].double())
    torch.testing.assert_close(out.double(), exact, rtol=tolerance, atol=tolerance)
    dets, kept = nms_rotated(strided, scores.repeat_interleave(2)[::2], 0.3)
    assert dets.dtype == dtype
    assert kept.tolist() == nms_rotated(boxes.double(), scores.double(), 0.3)[1].tolist()


def test_mixed_dtypes_promote(random_rotated, rng):
    boxes, scores = random_rotated(50), torch.rand(50, generator=rng).bfloat16()
    assert box_iou_rotated(boxes, boxes.double()).dtype == torch.float64
    dets, kept = nms_rotated(boxes, scores, 0.3)
    assert torch.equal(dets[:, :5], boxes[kept])


@pytest.mark.parametrize('dtype', DTYPES)
def test_empty(dtype):
    boxes, quads, scores = (torch.zeros(0, *shape, dtype=dtype) for shape in ((5,), (8,), ()))
    assert box_iou_rotated(boxes, torch.zeros(3, 5, dtype=dtype)).shape == (0, 3)
    assert box_iou_quadri(torch.zeros(3, 8, dtype=dtype), quads).shape == (3, 0)
    assert box_iou_rotated(boxes, boxes, aligned=True).shape == (0,)
    for dets, kept in (nms_rotated(boxes, scores, 0.5), nms_quadri(quads, scores, 0.5, torch.zeros(0).long())):
        assert dets.shape[0] == 0 and dets.shape[1] in (6, 9)
        assert kept.shape == (0,) and kept.dtype == torch.int64


def test_nan_scores_are_never_kept():
    boxes = torch.tensor([[0.0, 0, 10, 10, 0], [20, 0, 10, 10, 1], [40, 0, 10, 10, 2]])
    assert nms_rotated(boxes, torch.tensor([0.5, float('nan'), 0.7]), 0.5)[1].tolist() == [2, 0]


def test_gradients_reach_kept_boxes_and_scores():
    boxes = torch.tensor([[0.0, 0, 10, 10, 0], [0, 0, 10, 9, 0], [20, 0, 10, 10, 1]], requires_grad=True)
    scores = torch.tensor([0.9, 0.8, 0.7], requires_grad=True)
    nms_rotated(boxes, scores, 0.5)[0].sum().backward()
    assert boxes.grad.sum(dim=1).tolist() == [5, 0, 5]
    assert scores.grad.tolist() == [1, 0, 1]


def test_detectron2_spelling():
    theirs = torch.tensor([[10.0, 20, 30, 8, 30]], requires_grad=True)
    ours = rotated_boxes_from_detectron2(theirs)
    torch.testing.assert_close(ours, torch.tensor([[10, 20, 30, 8, -math.pi / 6]]))
    torch.testing.assert_close(rotated_boxes_to_detectron2(ours), theirs)
    # counter-clockwise by 30 degrees: the right end of the long box lies higher in the image, at a smaller y
    point = torch.tensor([[10 + 14 * math.cos(math.pi / 6), 20 - 14 * math.sin(math.pi / 6), 0.1, 0.1, 0]])
    assert box_iou_rotated(point, ours, 'iof').item() == pytest.approx(1)
    ours.sum().backward()
    np.testing.assert_allclose(theirs.grad[0], [1, 1, 1, 1, -math.pi / 180], rtol=1e-6)


@pytest.mark.parametrize('call, error, words', [
    (lambda x: box_iou_rotated(x[:, :4], x), ValueError, r'a has shape \(3, 4\), \(n, 5\) is expected'),
    (lambda x: box_iou_rotated(x, x.int()), TypeError, 'b has dtype torch.int32, a floating dtype'),
    (lambda x: box_iou_rotated(x, x, 'giou'), ValueError, "mode is 'giou', one of"),
    (lambda x: box_iou_rotated(x, x[:2], aligned=True), ValueError, 'a has 3 and b 2'),
    (lambda x: box_iou_rotated(x, x.to('meta')), ValueError, 'b is on meta, the other tensors are on cpu'),
    (lambda x: box_iou_quadri(x, x), ValueError, r'a has shape \(3, 5\), \(n, 8\) is expected'),
    (lambda x: nms_rotated(x, x[:, 0], 2), ValueError, 'nms_rotated: iou_threshold is 2, a number from 0 to 1'),
    (lambda x: nms_rotated(x, x[:2, 0], 0.5), ValueError, r'scores has shape \(2,\), \(3,\) is expected'),
    (lambda x: nms_rotated(x, x[:, 0], 0.5, x), ValueError, r'labels has shape \(3, 5\), \(3,\) is expected'),
    (lambda x: nms_quadri(x, x[:, 0], 0.5), ValueError, r'nms_quadri: boxes has shape \(3, 5\), \(n, 8\)'),
    (lambda x: batched_nms(x, x[:, 0], x[:, 0], {'type': 'nms', 'iou_threshold': 0.5}), ValueError, r'\(n, 4\) is exp'),
    (lambda x: batched_nms(x, x[:, 0], x[:, 0], {'type': 'nms_rotated'}), ValueError, "it needs 'iou_threshold'"),
    (lambda x: batched_nms(x, x[:, 0], x[:, 0], {'type': 'nms_rotated', 'iou_threshold': 0.5, 'sigma': 1}),
     ValueError, "a key of nms_cfg is 'sigma'"),
    (lambda x: rotated_boxes_from_detectron2(x[0]), ValueError, r'boxes has shape \(5,\), \(n, 5\) is expected'),
    (lambda x: rotated_boxes_to_detectron2([[0]]), TypeError, 'boxes is a list, a tensor is expected'),
])  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.zeros(3, 5))


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
def test_overlaps_on_cuda(cuda, random_rotated, dtype):
    a, b = random_rotated(60).to(dtype), random_rotated(50).to(dtype)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    for first, second, iou in ((a, b, box_iou_rotated), (corners(a.float()), corners(b.float()), box_iou_quadri)):
        for mode in ('iou', 'iof'):
            out = iou(first.to(cuda), second.to(cuda), mode).cpu()
            torch.testing.assert_close(out, iou(first, second, mode), rtol=tolerance, atol=tolerance)
    aligned = box_iou_rotated(a[:50].to(cuda), b.to(cuda), aligned=True).cpu()
    torch.testing.assert_close(aligned, box_iou_rotated(a[:50], b, aligned=True), rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize('n', [0, 1, 64, 300, 5000])
def test_suppression_on_cuda(cuda, random_rotated, rng, n):
    boxes, scores = random_rotated(n).double(), torch.rand(n, generator=rng).double()
    labels = torch.randint(0, 3, (n,), generator=rng)
    for suppress, rows in ((nms_rotated, boxes), (nms_quadri, corners(boxes))):
        for groups in (None, labels):
            expected = suppress(rows, scores, 0.3, groups)
            actual = suppress(rows.to(cuda), scores.to(cuda), 0.3, None if groups is None else groups.to(cuda))
            assert torch.equal(actual[1].cpu(), expected[1])
            assert torch.equal(actual[0].cpu(), expected[0])
