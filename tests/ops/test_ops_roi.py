import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from mmdetlike_ops import RoIAlign, RoIPool, deform_roi_pool, prroi_pool, roi_align, roi_pool

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def deformed(x, rois):
    offset = torch.sin(torch.arange(12.0 * len(rois), dtype=rois.dtype)).view(-1, 2, 3, 2)
    return deform_roi_pool(x, rois, offset, (3, 2), 0.25, 2)


POOLS = (
    lambda x, rois: roi_align(x, rois, (3, 2), 0.25, 2),
    lambda x, rois: roi_align(x, rois, (3, 2), 0.25, 0, aligned=False),
    lambda x, rois: roi_align(x, rois, (3, 2), 0.25, 0, 'max'),
    lambda x, rois: roi_pool(x, rois, (3, 2), 0.25),
    deformed,
    lambda x, rois: prroi_pool(x, rois, (3, 2), 0.25),
)
NAMES = ('align', 'align_adaptive', 'align_max', 'pool', 'deform', 'precise')
each_pool = pytest.mark.parametrize('pool', POOLS, ids=NAMES)


def test_recorded_roi_align(recording):
    for case, inputs, expected in recording.select('roi_align'):
        inputs['x'].requires_grad_()
        out = roi_align(**inputs, **case['settings'])
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-5)
        out.backward(expected('upstream'))
        torch.testing.assert_close(inputs['x'].grad, expected('grad/x'), rtol=1e-4, atol=1e-5)


def test_roi_pool_by_hand():
    x = torch.arange(24.0).reshape(1, 1, 4, 6).requires_grad_()
    out = roi_pool(x, torch.tensor([[0.0, 0, 0, 3, 3], [0, 4, 2, 9, 9]]), 2)
    assert out[0, 0].tolist() == [[7, 9], [19, 21]]
    assert out[1, 0].tolist() == [[23, 0], [0, 0]]
    out.sum().backward()
    assert x.grad.flatten().nonzero().flatten().tolist() == [7, 9, 19, 21, 23]


def test_modules_are_the_functions(rng, random_rois):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng), random_rois(4)
    assert torch.equal(RoIAlign(7, 0.25, 2)(x, rois), roi_align(x, rois, (7, 7), 0.25, 2))
    assert torch.equal(RoIAlign((3, 2), 0.25, use_torchvision=True)(x, rois), roi_align(x, rois, (3, 2), 0.25))
    assert torch.equal(RoIPool((3, 2), 0.25)(x, rois), roi_pool(x, rois, (3, 2), 0.25))
    assert 'sampling_ratio=2' in repr(RoIAlign(7, 0.25, 2))


@each_pool
def test_gradcheck(rng, random_rois, pool):
    x = torch.randn(2, 3, 8, 9, dtype=torch.float64, generator=rng).requires_grad_()
    rois = random_rois(4).double()
    rois[:, 1:] *= 0.1
    assert torch.autograd.gradcheck(lambda x: pool(x, rois), x)


@each_pool
@pytest.mark.parametrize('channels', [1, 16, 19, 40])
def test_strides_do_not_matter(rng, random_rois, pool, channels):
    x, rois = torch.randn(2, channels, 20, 30, generator=rng), random_rois(6)
    expected = pool(x, rois)
    assert torch.equal(pool(x.contiguous(memory_format=torch.channels_last), rois), expected)
    assert torch.equal(pool(x.transpose(2, 3).contiguous().transpose(2, 3), rois.T.contiguous().T), expected)
    assert torch.equal(pool(torch.cat([x, x], 1)[:, channels:], rois), expected)


@each_pool
def test_non_contiguous_gradient(rng, random_rois, pool):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng).requires_grad_(), random_rois(6)
    out = pool(x, rois)
    upstream = torch.randn(out.shape, generator=rng)
    (expected,) = torch.autograd.grad(out, x, upstream, retain_graph=True)
    (strided,) = torch.autograd.grad(out, x, upstream.transpose(0, 1).contiguous().transpose(0, 1))
    assert torch.equal(strided, expected)


@each_pool
@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes(rng, random_rois, pool, dtype):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng).to(dtype).requires_grad_(), random_rois(6)
    exact = x.detach().double().requires_grad_()
    out, wanted = pool(x, rois), pool(exact, rois)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), wanted, rtol=tolerance, atol=tolerance)
    out.sum().backward()
    wanted.sum().backward()
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=tolerance, atol=tolerance)


@each_pool
def test_empty(pool):
    x = torch.randn(2, 5, 20, 30, requires_grad=True)
    out = pool(x, torch.zeros(0, 5))
    assert out.shape == (0, 5, 3, 2)
    out.sum().backward()
    assert x.grad.abs().sum() == 0
    assert pool(torch.zeros(0, 5, 20, 30), torch.zeros(0, 5)).shape == (0, 5, 3, 2)
    assert pool(torch.zeros(1, 0, 20, 30), torch.zeros(1, 5)).shape == (1, 0, 3, 2)


@each_pool
def test_regions_without_sense_give_zero_or_finite_features(pool):
    rois = torch.tensor([
        [0, -900, -900, -800, -800],
        [0, float('nan'), 0, 9, 9],
        [0, 5, 5, 5, 5],
        [0, 9, 9, 1, 1],
        [0, 0, 0, float('inf'), 8],
        [0, 0, 0, 1e30, 1e30],
    ])  # fmt: skip
    out = pool(torch.ones(1, 2, 8, 8), rois)
    assert out[:2].abs().sum() == 0
    assert out.isfinite().all()


@each_pool
@pytest.mark.parametrize('image', [-1, 2, float('nan')])
def test_image_outside_the_batch(pool, image):
    with pytest.raises(RuntimeError, match='roi 1 belongs to image'):
        pool(torch.ones(2, 3, 8, 8), torch.tensor([[0.0, 0, 0, 4, 4], [image, 0, 0, 4, 4]]))


class LastArguments(TorchDispatchMode):
    """The last argument of every backward operator that ran."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == 'mmdetlike_ops' and 'backward' in function.__name__:
            self.seen.append(args[-1])
        return function(*args, **(kwargs or {}))


@each_pool
@pytest.mark.parametrize('wanted', [False, True])
def test_backward_is_told_whether_to_be_deterministic(rng, random_rois, pool, wanted):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng).requires_grad_(), random_rois(6)
    torch.use_deterministic_algorithms(wanted)
    try:
        with LastArguments() as arguments:
            torch.autograd.grad(pool(x, rois).sum(), x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert arguments.seen == [wanted]


def test_autocast_mixes_dtypes(rng, random_rois):
    x, rois = torch.randn(2, 5, 20, 30, generator=rng), random_rois(6)
    with torch.autocast('cpu', torch.bfloat16):
        out = roi_align(x.bfloat16(), rois, 7, 0.25)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), roi_align(x, rois, 7, 0.25), rtol=0.05, atol=0.05)


@given(st.floats(-3, 3), st.floats(0, 12), st.floats(0, 12), st.floats(1, 12), st.floats(1, 12), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_constant_map_pools_to_the_constant(value, x1, y1, w, h, ratio):
    rois = torch.tensor([[0, x1, y1, x1 + w, y1 + h]])
    x = torch.full((1, 3, 24, 24), value)
    for mode in ('avg', 'max'):
        torch.testing.assert_close(roi_align(x, rois, 3, 1.0, ratio, mode), torch.full((1, 3, 3, 3), value))


@given(st.floats(1, 8), st.floats(1, 8), st.floats(1, 8), st.floats(1, 8), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_flipping_map_and_region_flips_the_features(x1, y1, w, h, seed):
    x = torch.randn(1, 3, 18, 20, generator=torch.Generator().manual_seed(seed))
    rois = torch.tensor([[0, x1, y1, x1 + w, y1 + h]])
    flipped = torch.tensor([[0, 20 - x1 - w, y1, 20 - x1, y1 + h]])
    for mode in ('avg', 'max'):
        expected = roi_align(x, rois, 4, sampling_ratio=2, pool_mode=mode).flip(3)
        actual = roi_align(x.flip(3), flipped, 4, sampling_ratio=2, pool_mode=mode)
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('change, error, words', [
    ({'x': torch.zeros(3, 8, 8)}, ValueError, r'x has shape \(3, 8, 8\), \(n, c, h, w\) is expected'),
    ({'x': torch.zeros(1, 3, 8, 8).int()}, TypeError, 'x has dtype torch.int32, a floating dtype'),
    ({'rois': torch.zeros(2, 4)}, ValueError, r'rois has shape \(2, 4\), \(n, 5\) is expected'),
    ({'rois': torch.zeros(2, 5, device='meta')}, ValueError, 'rois is on meta'),
    ({'output_size': 0}, ValueError, r'output_size is \(0, 0\)'),
    ({'pool_mode': 'mean'}, ValueError, "pool_mode is 'mean', one of"),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'x': torch.zeros(1, 3, 8, 8), 'rois': torch.zeros(2, 5), 'output_size': 2}
    with pytest.raises(error, match=words):
        roi_align(**{**good, **change})


def test_boxes_of_each_image_as_a_list():
    x = torch.arange(2 * 3 * 8 * 9.0).reshape(2, 3, 8, 9)
    boxes = [torch.tensor([[0.0, 1, 5, 6]]), torch.tensor([[2.0, 2, 7, 7], [1.0, 0, 3, 3]])]
    rois = torch.cat([torch.tensor([[0.0], [1], [1]]), torch.cat(boxes)], dim=1)
    assert torch.equal(roi_align(x, boxes, 2, sampling_ratio=-1), roi_align(x, rois, 2))
    assert roi_align(x, [torch.zeros(0, 4)] * 2, 2).shape == (0, 3, 2, 2)
    assert roi_align(x[:0], [], 2).shape == (0, 3, 2, 2)
    with pytest.raises(ValueError, match='rois has boxes of 1 images, x has 2 images'):
        roi_align(x, boxes[:1], 2)
    with pytest.raises(ValueError, match=r'rois\[1\] has shape \(2, 5\), \(n, 4\) is expected'):
        roi_align(x, [boxes[0], rois[1:]], 2)
