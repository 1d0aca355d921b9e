import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from mmdetlike_ops import batched_nms, bbox_overlaps, nms, nms_match, soft_nms

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def greedy(boxes, scores, threshold, groups=None):
    """The definition, one box after another."""
    overlapping = (bbox_overlaps(boxes, boxes) > threshold).tolist()
    kept = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        rivals = [j for j in kept if groups is None or groups[i] == groups[j]]
        if not any(overlapping[i][j] for j in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize('op', [nms, soft_nms, batched_nms], ids=lambda op: op.__name__)
def test_recorded_suppression(recording, op):
    for case, inputs, expected in recording.select(op.__name__):
        dets, kept = op(**inputs, **case['settings'])
        assert kept.tolist() == expected('kept').tolist(), case
        torch.testing.assert_close(dets, expected('dets'), rtol=1e-4, atol=1e-6)


def test_recorded_matches(recording):
    for case, inputs, _ in recording.select('nms_match'):
        assert nms_match(inputs['dets'], case['settings']['iou_threshold']) == case['value']


def test_recorded_overlaps(recording):
    for case, inputs, expected in recording.select('bbox_overlaps'):
        torch.testing.assert_close(bbox_overlaps(**inputs, **case['settings']), expected('out'), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('aligned', [False, True])
def test_generalized_overlaps_by_definition(random_boxes, offset, aligned):
    a, b = random_boxes(30), random_boxes(30)
    b[0] = a[0]
    first, second = (a, b) if aligned else (a[:, None], b)
    low, high = torch.minimum(first, second)[..., :2], torch.maximum(first, second)[..., 2:]
    outer = (high - low + offset).prod(-1)
    sizes = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2]) + offset
    inner = sizes.clamp(min=0).prod(-1)
    areas = [(x[..., 2:] - x[..., :2] + offset).prod(-1) for x in (first, second)]
    union = areas[0] + areas[1] - inner
    expected = inner / union - (outer - union) / outer
    torch.testing.assert_close(bbox_overlaps(a, b, 'giou', aligned, offset), expected, rtol=1e-4, atol=1e-5)
    assert expected.min() < -0.2


def test_generalized_overlap_of_boxes_without_area():
    points = torch.tensor([[3.0, 3, 3, 3], [5, 5, 5, 5]])
    assert bbox_overlaps(points, points, 'giou').tolist() == [[0, -1], [-1, 0]]


@pytest.mark.parametrize('mode', ['iou', 'iof', 'giou'])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
@pytest.mark.parametrize('axis', range(4))
def test_boxes_that_are_not_finite_overlap_nothing(mode, value, axis):
    box = torch.tensor([[0.0, 0, 10, 10]])
    wild = box.clone()
    wild[0, axis] = value
    assert bbox_overlaps(wild, wild, mode).item() == 0
    assert bbox_overlaps(wild, box, mode).item() == 0


@pytest.mark.parametrize('threshold', [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize('scale', [(1.0, 1.0), (1e4, 1e-3)], ids=['plain', 'skewed'])
def test_grid_finds_what_the_definition_finds(random_boxes, rng, threshold, scale):
    boxes = random_boxes(900, 1.0, 300.0) * torch.tensor(scale * 2)
    scores = torch.rand(900, generator=rng)
    assert nms(boxes, scores, threshold)[1].tolist() == greedy(boxes, scores, threshold)


def test_grid_with_an_outlier_and_useless_boxes(random_boxes, rng):
    boxes = random_boxes(600)
    boxes[0] = torch.tensor([1e7, 1e7, 2e7, 2e7])
    boxes[1] = torch.tensor([float('nan')] * 4)
    boxes[2] = torch.tensor([float('-inf'), 0, float('inf'), 5])
    boxes[3] = torch.tensor([50.0, 50.0, 40.0, 40.0])
    scores = torch.rand(600, generator=rng)
    assert nms(boxes, scores, 0.5)[1].tolist() == greedy(boxes, scores, 0.5)


def test_classes_do_not_meet(random_boxes, rng):
    boxes, scores = random_boxes(500), torch.rand(500, generator=rng)
    classes = torch.randint(-2, 3, (500,), generator=rng)
    kept = batched_nms(boxes, scores, classes, {'type': 'nms', 'iou_threshold': 0.3})[1]
    assert kept.tolist() == greedy(boxes, scores, 0.3, classes)


def test_batched_none_sorts():
    boxes, scores = torch.rand(3, 4), torch.tensor([0.2, 0.9, 0.5])
    dets, order = batched_nms(boxes, scores, torch.zeros(3), None)
    assert order.tolist() == [1, 2, 0]
    assert torch.equal(dets, torch.cat([boxes[order], scores[order, None]], dim=1))


def test_batched_settings(random_boxes, rng):
    boxes, scores, classes = random_boxes(50), torch.rand(50, generator=rng), torch.zeros(50, dtype=torch.long)
    config = {'type': 'nms', 'iou_thr': 0.3, 'max_num': 4, 'class_agnostic': True}
    kept = batched_nms(boxes, scores, classes, config)[1]
    assert kept.tolist() == nms(boxes, scores, 0.3, max_num=4)[1].tolist()
    assert config == {'type': 'nms', 'iou_thr': 0.3, 'max_num': 4, 'class_agnostic': True}
    soft = batched_nms(boxes, scores, classes, {'type': 'soft_nms', 'iou_threshold': 0.3, 'max_num': 4})[0]
    assert torch.equal(soft, soft_nms(boxes, scores, 0.3)[0][:4])


@pytest.mark.parametrize('op', [nms, soft_nms], ids=lambda op: op.__name__)
def test_nan_scores_are_never_kept(op):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    kept = op(boxes, torch.tensor([0.5, float('nan'), 0.7]), 0.5)[1]
    assert kept.tolist() == [2, 0]
    assert nms_match(torch.cat([boxes, torch.tensor([[0.5], [float('nan')], [0.7]])], dim=1), 0.5) == [[2], [0]]


def test_equal_scores_keep_their_order():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(40, 1) + 20 * torch.arange(40.0)[:, None]
    assert nms(boxes, torch.ones(40), 0.5)[1].tolist() == list(range(40))
    assert soft_nms(boxes, torch.ones(40))[1].tolist() == list(range(40))


def test_iou_equal_to_the_threshold_does_not_suppress():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.4999)[1].tolist() == [0]


def test_score_threshold_is_exclusive():
    boxes = torch.tensor([[0.0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]])
    assert nms(boxes, torch.tensor([0.25, 0.5, 0.75]), 0.5, score_threshold=0.5)[1].tolist() == [2]


@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes_and_strides(random_boxes, rng, dtype):
    boxes, scores = random_boxes(200).to(dtype), torch.rand(200, generator=rng).to(dtype)
    strided = boxes.T.contiguous().T
    dets, kept = nms(strided, scores.repeat_interleave(2)[::2], 0.5)
    assert dets.dtype == dtype
    assert kept.tolist() == nms(boxes.double(), scores.double(), 0.5)[1].tolist()


def test_mixed_dtypes_promote(random_boxes, rng):
    boxes, scores = random_boxes(50), torch.rand(50, generator=rng).bfloat16()
    dets, kept = nms(boxes, scores, 0.5)
    assert dets.dtype == torch.float32
    assert torch.equal(dets[:, :4], boxes[kept])


@pytest.mark.parametrize('dtype', DTYPES)
def test_empty(dtype):
    boxes, scores, classes = torch.zeros(0, 4, dtype=dtype), torch.zeros(0, dtype=dtype), torch.zeros(0).long()
    for dets, kept in (
        nms(boxes, scores, 0.5),
        soft_nms(boxes, scores),
        batched_nms(boxes, scores, classes, {'type': 'nms', 'iou_threshold': 0.5}),
        batched_nms(boxes, scores, classes, {'type': 'soft_nms'}),
        batched_nms(boxes, scores, classes, None),
    ):
        assert dets.shape == (0, 5)
        assert kept.shape == (0,) and kept.dtype == torch.int64
    assert nms_match(torch.zeros(0, 5), 0.5) == []
    assert bbox_overlaps(boxes, torch.zeros(3, 4, dtype=dtype)).shape == (0, 3)


def test_gradients_reach_kept_boxes_and_scores():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], requires_grad=True)
    scores = torch.tensor([0.9, 0.8, 0.7], requires_grad=True)
    nms(boxes, scores, 0.5)[0].sum().backward()
    assert boxes.grad.sum(dim=1).tolist() == [4, 0, 4]
    assert scores.grad.tolist() == [1, 0, 1]


@given(st.integers(0, 120), st.floats(0.05, 0.95), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_idempotent_and_permutation_invariant(n, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(n, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + torch.rand(n, 2, generator=generator) * 40], dim=1)
    scores = torch.randperm(n, generator=generator) / max(n, 1)
    dets, kept = nms(boxes, scores, threshold)
    assert torch.equal(nms(dets[:, :4], dets[:, 4], threshold)[0], dets)
    shuffle = torch.randperm(n, generator=generator)
    assert torch.equal(shuffle[nms(boxes[shuffle], scores[shuffle], threshold)[1]], kept)


@given(st.sampled_from(['naive', 'linear', 'gaussian']), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_soft_nms_scores_only_fall(method, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(30, 2, generator=generator) * 20
    boxes = torch.cat([corners, corners + 5 + torch.rand(30, 2, generator=generator) * 20], dim=1)
    scores = torch.rand(30, generator=generator)
    dets, kept = soft_nms(boxes, scores, method=method, min_score=0.01)
    assert (dets[:, 4] <= scores[kept]).all()
    assert (dets[:-1, 4] >= dets[1:, 4]).all()
    assert dets[0, 4] == scores.max()


@pytest.mark.parametrize('change, error, words', [
    ({'boxes': torch.zeros(3, 5)}, ValueError, r'boxes has shape \(3, 5\), \(n, 4\) is expected'),
    ({'boxes': torch.zeros(3, 4, dtype=torch.long)}, TypeError, 'boxes has dtype torch.int64, a floating dtype'),
    ({'boxes': [[0, 0, 1, 1]]}, TypeError, 'boxes is a list, a tensor is expected'),
    ({'scores': torch.zeros(2)}, ValueError, r'scores has shape \(2,\), \(3,\) is expected'),
    ({'scores': torch.zeros(3, device='meta')}, ValueError, 'scores is on meta, the other tensors are on cpu'),
    ({'iou_threshold': 1.5}, ValueError, 'iou_threshold is 1.5, a number from 0 to 1 is expected'),
    ({'offset': 2}, ValueError, r'offset is 2, one of \(0, 1\) is expected'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'boxes': torch.zeros(3, 4), 'scores': torch.zeros(3), 'iou_threshold': 0.5}
    with pytest.raises(error, match=words):
        nms(**{**good, **change})


@pytest.mark.parametrize('config, words', [
    ({'type': 'nmss', 'iou_threshold': 0.5}, "nms_cfg\\['type'\\] is 'nmss'"),
    ({'type': 'nms', 'iou_treshold': 0.5}, "a key of nms_cfg is 'iou_treshold'"),
    ({'type': 'nms'}, "it needs 'iou_threshold'"),
])  # fmt: skip
def test_bad_config(config, words):
    with pytest.raises(ValueError, match=words):
        batched_nms(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1), config)


def test_bad_method_and_mode():
    with pytest.raises(ValueError, match="method is 'quadratic'"):
        soft_nms(torch.zeros(1, 4), torch.zeros(1), method='quadratic')
    with pytest.raises(ValueError, match="mode is 'diou'"):
        bbox_overlaps(torch.zeros(1, 4), torch.zeros(1, 4), mode='diou')
    with pytest.raises(ValueError, match='a has 1 and b 2'):
        bbox_overlaps(torch.zeros(1, 4), torch.zeros(2, 4), aligned=True)


def test_a_cpu_build_refuses_cuda_tensors(monkeypatch):
    monkeypatch.setattr('mmdetlike_ops._checks.COMPILED_FOR_CUDA', False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        boxes, scores = torch.zeros(3, 4, device='cuda'), torch.zeros(3, device='cuda')
        with pytest.raises(
            RuntimeError, match='boxes is on cuda:0, but the kernels were compiled without CUDA; compile'
        ):
            nms(boxes, scores, 0.5)


def test_a_number_is_the_threshold_of_nms_within_classes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    _, kept = batched_nms(boxes, scores, torch.tensor([0, 0, 1]), 0.5)
    assert kept.tolist() == [1, 2]
