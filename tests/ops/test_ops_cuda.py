"""Every operator on a CUDA device against itself on the CPU."""

import pytest
import torch

from mmdetlike_ops import (
    batched_nms,
    bbox_overlaps,
    deform_roi_pool,
    nms,
    nms_match,
    prroi_pool,
    roi_align,
    roi_pool,
    sigmoid_focal_loss,
    soft_nms,
)

pytestmark = pytest.mark.gpu
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('n', [0, 1, 64, 300, 9000])
def test_nms(cuda, rng, random_boxes, n, dtype):
    boxes, scores = random_boxes(n).to(dtype), torch.rand(n, generator=rng).to(dtype)
    classes = torch.randint(0, 3, (n,), generator=rng)
    for groups in (None, classes):
        config = {'type': 'nms', 'iou_threshold': 0.5, 'split_thr': 0, 'score_threshold': 0.1}
        idxs = torch.zeros(n).long() if groups is None else groups
        expected = batched_nms(boxes, scores, idxs, config)
        dets, kept = batched_nms(boxes.to(cuda), scores.to(cuda), idxs.to(cuda), config)
        assert torch.equal(kept.cpu(), expected[1])
        assert torch.equal(dets.cpu(), expected[0])


def test_nan_scores_are_never_kept(cuda):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], device=cuda)
    assert nms(boxes, torch.tensor([0.5, float('nan'), 0.7], device=cuda), 0.5)[1].tolist() == [2, 0]


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms(cuda, rng, random_boxes, method, offset):
    boxes, scores = random_boxes(700), torch.rand(700, generator=rng)
    expected = soft_nms(boxes, scores, method=method, offset=offset)
    dets, kept = soft_nms(boxes.to(cuda), scores.to(cuda), method=method, offset=offset)
    assert torch.equal(kept.cpu(), expected[1])
    torch.testing.assert_close(dets.cpu(), expected[0])


def test_overlaps_and_matches(cuda, rng, random_boxes):
    a, b = random_boxes(60), random_boxes(40)
    for settings in ({}, {'mode': 'iof'}, {'offset': 1}):
        torch.testing.assert_close(
            bbox_overlaps(a.to(cuda), b.to(cuda), **settings).cpu(), bbox_overlaps(a, b, **settings)
        )
    dets = torch.cat([a, torch.rand(60, 1, generator=rng)], dim=1)
    assert nms_match(dets.to(cuda), 0.3) == nms_match(dets, 0.3)


def deformed(x, rois):
    offset = torch.sin(torch.arange(70.0 * len(rois), device=rois.device)).view(-1, 2, 7, 5)
    return deform_roi_pool(x, rois, offset, (7, 5), 0.25, 2)


each_pool = pytest.mark.parametrize('pool', [
    lambda x, rois: roi_align(x, rois, (7, 5), 0.25, 2),
    lambda x, rois: roi_align(x, rois, (7, 5), 0.25, 0, aligned=False),
    lambda x, rois: roi_align(x, rois, (7, 5), 0.25, 2, 'max'),
    lambda x, rois: roi_pool(x, rois, (7, 5), 0.25),
    deformed,
    lambda x, rois: prroi_pool(x, rois, (7, 5), 0.25),
], ids=['align', 'align_adaptive', 'align_max', 'pool', 'deform', 'precise'])  # fmt: skip


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@each_pool
def test_pooling(cuda, rng, random_rois, pool, layout, dtype):
    x, rois = torch.randn(2, 19, 40, 50, generator=rng).to(dtype).contiguous(memory_format=layout), random_rois(30)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    results = []
    for device in ('cpu', cuda):
        leaf = x.to(device).requires_grad_()
        out = pool(leaf, rois.to(device))
        results.append((out.detach().cpu(), torch.autograd.grad(out.sum(), leaf)[0].cpu()))
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@each_pool
def test_deterministic_gradients(cuda, rng, random_rois, pool, deterministic):
    x, rois = torch.randn(2, 19, 40, 50, generator=rng), random_rois(200)
    (expected,) = torch.autograd.grad(pool(x.requires_grad_(), rois).square().sum(), x)
    leaf, rois = x.detach().to(cuda).requires_grad_(), rois.to(cuda)
    grads = [torch.autograd.grad(pool(leaf, rois).square().sum(), leaf)[0] for _ in range(3)]
    assert all(torch.equal(grad, grads[0]) for grad in grads)
    torch.testing.assert_close(grads[0].cpu(), expected, rtol=1e-3, atol=1e-3)


def test_a_region_of_no_image_gives_zeros(cuda):
    x = torch.ones(2, 3, 8, 8, device=cuda, requires_grad=True)
    out = roi_align(x, torch.tensor([[5.0, 0, 0, 4, 4], [-1, 0, 0, 4, 4]], device=cuda), 2)
    out.sum().backward()
    assert out.abs().sum() == 0
    assert x.grad.abs().sum() == 0


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('gamma', [2.0, 1.5])
def test_focal_loss(cuda, rng, gamma, dtype):
    x, target = (5 * torch.randn(200, 9, generator=rng)).to(dtype), torch.randint(0, 10, (200,), generator=rng)
    results = []
    for device in ('cpu', cuda):
        leaf = x.to(device).requires_grad_()
        loss = sigmoid_focal_loss(leaf, target.to(device), gamma, reduction='none')
        results.append((loss.detach().cpu(), torch.autograd.grad(loss.sum(), leaf)[0].cpu()))
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=1e-4 if x.element_size() > 2 else 1e-2, atol=1e-6)


def test_other_streams_are_respected(cuda, rng, random_rois):
    x, rois = torch.randn(2, 8, 40, 50, generator=rng).to(cuda), random_rois(30).to(cuda)
    expected = roi_align(x + 1, rois, 7, 0.25, 2)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        late = roi_align(x + 1, rois, 7, 0.25, 2)
    stream.synchronize()
    torch.testing.assert_close(late, expected)
