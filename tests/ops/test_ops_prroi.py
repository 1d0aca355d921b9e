import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import PrRoIPool, prroi_pool


def surface(x, y_at, x_at):
    """The bilinear surface over features (c, h, w), which falls to 0 within one pixel beyond the border."""
    rows, columns = (
        (1 - (at[:, None] - torch.arange(n, dtype=at.dtype)).abs()).clamp(min=0)
        for at, n in zip((y_at, x_at), x.shape[1:])
    )
    return rows @ x @ columns.T


def by_midpoints(x, rois, size, scale, n=150):
    """The mean over each bin by n x n midpoints."""
    out = []
    for roi in rois.tolist():
        x1, y1, x2, y2 = (v * scale for v in roi[1:])
        y_at = y1 + (y2 - y1) * (torch.arange(size[0] * n, dtype=x.dtype) + 0.5) / (size[0] * n)
        x_at = x1 + (x2 - x1) * (torch.arange(size[1] * n, dtype=x.dtype) + 0.5) / (size[1] * n)
        values = surface(x[int(roi[0])], y_at, x_at)
        out.append(values.view(-1, size[0], n, size[1], n).mean(dim=(2, 4)))
    return torch.stack(out)


@pytest.fixture
def problem(rng, random_rois):
    rois = random_rois(6)
    rois[0, 1:] = torch.tensor([-30.0, -20, 60, 40])
    rois[1, 1:] = torch.tensor([20.3, 21.1, 22.2, 24.7])
    return torch.randn(2, 11, 20, 30, generator=rng), rois


def test_the_integral(problem):
    x, rois = (t.double() for t in problem)
    x = x[:, :2]
    torch.testing.assert_close(
        prroi_pool(x, rois, (3, 2), 0.25), by_midpoints(x, rois, (3, 2), 0.25), rtol=1e-3, atol=1e-4
    )


def test_by_hand():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = 1.0
    rois = torch.tensor([[0.0, 0, 0, 2, 2], [0, 1, 1, 1.5, 2], [0, 0.5, 1, 1.5, 3]])
    expected = torch.tensor([0.25, 0.75 * 0.5, 0.75 * 0.25])
    torch.testing.assert_close(prroi_pool(x, rois, 1).flatten(), expected)
    torch.testing.assert_close(prroi_pool(x, 2 * rois * torch.tensor([0.5, 1, 1, 1, 1]), 1, 0.5).flatten(), expected)


def test_gradcheck_of_features_and_corners(problem):
    x, rois = problem[0][:, :3].double().requires_grad_(), problem[1].double()
    image, boxes = rois[:, :1], rois[:, 1:].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, boxes: prroi_pool(x, torch.cat([image, boxes], 1), (3, 2), 0.25), (x, boxes)
    )


def test_a_descent_on_corners_finds_the_bright_square():
    x = torch.zeros(1, 1, 32, 32)
    x[0, 0, 8:17, 10:21] = 1
    box = torch.tensor([7.0, 6.0, 24.0, 20.0], requires_grad=True)
    optimizer = torch.optim.SGD([box], lr=20)
    for _ in range(200):
        optimizer.zero_grad()
        loss = -prroi_pool(x, torch.cat([torch.zeros(1), box])[None], 3).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < -0.99


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_corner_gradients_of_narrow_dtypes(problem, dtype):
    x, rois = problem[0].to(dtype), problem[1].clone().requires_grad_()
    exact = rois.detach().double().requires_grad_()
    prroi_pool(x, rois, (3, 2), 0.25).sum().backward()
    prroi_pool(x.double(), exact, (3, 2), 0.25).sum().backward()
    assert rois.grad.dtype == torch.float32
    torch.testing.assert_close(rois.grad.double(), exact.grad, rtol=2e-2, atol=5e-2)


def test_corner_gradients_do_not_depend_on_threads_or_layout(rng, random_rois):
    x, rois = torch.randn(2, 40, 20, 30, generator=rng), random_rois(50)
    threads, grads = torch.get_num_threads(), []
    try:
        for count, layout in ((1, torch.contiguous_format), (2, torch.channels_last)):
            torch.set_num_threads(count)
            leaf = rois.clone().requires_grad_()
            out = prroi_pool(x.contiguous(memory_format=layout), leaf, (3, 2), 0.25)
            grads.append(torch.autograd.grad(out.square().sum(), leaf)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*grads)
    assert grads[0][:, 0].abs().sum() == 0


@given(st.floats(-3, 3), st.floats(0, 12), st.floats(0, 12), st.floats(0.01, 11), st.floats(0.01, 11))
@settings(max_examples=25, deadline=None)
def test_a_constant_map_pools_to_the_constant(value, x1, y1, w, h):
    rois = torch.tensor([[0, x1, y1, x1 + w, y1 + h]])
    out = prroi_pool(torch.full((1, 3, 24, 24), value), rois, 3)
    torch.testing.assert_close(out, torch.full((1, 3, 3, 3), value), rtol=1e-4, atol=1e-4)


@given(st.floats(-2, 14), st.floats(-2, 14), st.floats(0.5, 9), st.floats(0.5, 9), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_bin_is_the_mean_of_its_quarters(x1, y1, w, h, seed):
    x = torch.randn(1, 3, 16, 17, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rois = torch.tensor([[0, x1, y1, x1 + w, y1 + h]], dtype=torch.float64)
    quarters = prroi_pool(x, rois, 6).view(1, 3, 3, 2, 3, 2).mean(dim=(3, 5))
    torch.testing.assert_close(quarters, prroi_pool(x, rois, 3), rtol=1e-6, atol=1e-7)


def test_regions_without_area_have_no_gradient():
    x = torch.ones(1, 2, 8, 8, requires_grad=True)
    rois = torch.tensor([[0, 5.0, 5, 5, 5], [0, 9, 9, 1, 1], [0, 0, 0, float('nan'), 5]], requires_grad=True)
    prroi_pool(x, rois, 2).sum().backward()
    assert rois.grad.abs().sum() == 0 and x.grad.abs().sum() == 0


def test_module(problem):
    pool = PrRoIPool((3, 2), 0.25)
    assert torch.equal(pool(*problem), prroi_pool(*problem, (3, 2), 0.25))
    assert repr(pool) == 'PrRoIPool(output_size=(3, 2), spatial_scale=0.25)'


@pytest.mark.parametrize('change, error, words', [
    ({'x': torch.zeros(3, 8, 8)}, ValueError, r'prroi_pool: x has shape \(3, 8, 8\)'),
    ({'rois': torch.zeros(2, 4)}, ValueError, r'rois has shape \(2, 4\), \(n, 5\) is expected'),
    ({'output_size': 0}, ValueError, r'output_size is \(0, 0\)'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'x': torch.zeros(1, 3, 8, 8), 'rois': torch.zeros(2, 5), 'output_size': 2}
    with pytest.raises(error, match=words):
        prroi_pool(**{**good, **change})


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_cuda(cuda, problem, dtype):
    tolerance = {torch.float32: 1e-3, torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    results = []
    for device in ('cpu', cuda):
        x, rois = problem[0].to(device, dtype).requires_grad_(), problem[1].to(device).requires_grad_()
        out = prroi_pool(x, rois, (3, 2), 0.25)
        results.append([t.detach().cpu() for t in (out, *torch.autograd.grad(out.sum(), (x, rois)))])
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
