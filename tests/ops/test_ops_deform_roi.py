import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import (
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPool,
    ModulatedDeformRoIPoolPack,
    deform_roi_pool,
    roi_align,
)


@pytest.fixture
def problem(rng, random_rois):
    return torch.randn(2, 11, 20, 30, generator=rng), random_rois(6), torch.randn(6, 2, 3, 2, generator=rng)


def one_bin_at_a_time(x, rois, offset, scale, ratio, gamma):
    """By `roi_align`: a region of its own for every bin, moved as its offset says."""
    k, _, height, width = offset.shape
    size = rois[:, 3:] - rois[:, 1:3]
    out = x.new_empty(k, x.shape[1], height, width)
    for y in range(height):
        for x_ in range(width):
            moved = rois.clone()
            moved[:, 1] += size[:, 0] * (x_ / width + gamma * offset[:, 0, y, x_])
            moved[:, 2] += size[:, 1] * (y / height + gamma * offset[:, 1, y, x_])
            moved[:, 3:] = moved[:, 1:3] + size / torch.tensor([width, height])
            out[:, :, y, x_] = roi_align(x, moved, 1, scale, ratio)[:, :, 0, 0]
    return out


@pytest.mark.parametrize('ratio', [0, 3])
def test_bins_move_by_their_offsets(problem, ratio):
    x, rois, offset = (t.double() for t in problem)
    expected = one_bin_at_a_time(x, rois, offset, 0.25, ratio, 0.4)
    torch.testing.assert_close(deform_roi_pool(x, rois, offset, (3, 2), 0.25, ratio, 0.4), expected)


def test_without_offsets_it_is_roi_align(problem):
    x, rois, offset = problem
    expected = roi_align(x, rois, (3, 2), 0.25)
    assert torch.equal(deform_roi_pool(x, rois, None, (3, 2), 0.25), expected)
    torch.testing.assert_close(deform_roi_pool(x, rois, 0 * offset, (3, 2), 0.25), expected)


def test_by_hand():
    x = torch.arange(8.0).expand(1, 1, 8, 8)
    rois, offset = torch.tensor([[0.0, 2, 2, 4, 4]]), torch.tensor([0.5, 3.0]).view(1, 2, 1, 1)
    moved = deform_roi_pool(x, rois, offset, 1, sampling_ratio=1, gamma=0.5)
    assert moved.item() == 3 - 0.5 + 0.5 * 0.5 * 2  # the centre, and half of half the width along x


@pytest.mark.parametrize('ratio', [0, 2])
def test_gradcheck(problem, ratio):
    x, rois, offset = (t.double()[..., :9] for t in problem)
    rois[:, 1:] *= 0.3
    inputs = x[:, :3, :8].requires_grad_(), offset.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, offset: deform_roi_pool(x, rois, offset, (3, 2), 0.25, ratio), inputs)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_offset_gradients_of_narrow_dtypes(problem, dtype):
    x, rois, offset = problem[0].to(dtype), problem[1], problem[2].to(dtype).requires_grad_()
    exact = offset.detach().double().requires_grad_()
    deform_roi_pool(x, rois, offset, (3, 2), 0.25).sum().backward()
    deform_roi_pool(x.double(), rois.double(), exact, (3, 2), 0.25).sum().backward()
    assert offset.grad.dtype == dtype
    torch.testing.assert_close(offset.grad.double(), exact.grad, rtol=2e-2, atol=2e-2)


def test_offset_gradients_do_not_depend_on_threads_or_layout(rng, random_rois):
    x, rois, offset = (
        torch.randn(2, 40, 20, 30, generator=rng),
        random_rois(50),
        torch.randn(50, 2, 3, 2, generator=rng),
    )
    threads, grads = torch.get_num_threads(), []
    try:
        for count, layout in ((1, torch.contiguous_format), (2, torch.channels_last)):
            torch.set_num_threads(count)
            leaf = offset.clone().requires_grad_()
            out = deform_roi_pool(x.contiguous(memory_format=layout), rois, leaf, (3, 2), 0.25, 2)
            grads.append(torch.autograd.grad(out.square().sum(), leaf)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*grads)


def test_absurd_offsets_give_zeros():
    x = torch.ones(1, 2, 8, 8, requires_grad=True)
    rois = torch.tensor([[0.0, 1, 1, 7, 7]])
    offset = torch.tensor([1e30, -1e30, float('nan'), float('inf')]).view(1, 1, 2, 2).expand(1, 2, 2, 2).clone()
    offset.requires_grad_()
    out = deform_roi_pool(x, rois, offset, 2)
    assert out.abs().sum() == 0
    out.sum().backward()
    assert offset.grad.abs().sum() == 0 and x.grad.abs().sum() == 0


@given(st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 3), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_one_offset_for_all_bins_moves_the_region(right, down, ratio, seed):
    x = torch.randn(1, 3, 30, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rois = torch.tensor([[0, 8.3, 9.1, 18.2, 17.4]], dtype=torch.float64)
    offset = torch.tensor([right, down], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    shift = torch.tensor([0, right * 0.99, down * 0.83, right * 0.99, down * 0.83], dtype=torch.float64)
    torch.testing.assert_close(
        deform_roi_pool(x, rois, offset, 3, 1.0, ratio), roi_align(x, rois + shift, 3, 1.0, ratio), rtol=1e-5, atol=1e-6
    )


def test_modules(problem):
    x, rois, offset = problem
    pool = DeformRoIPool((3, 2), 0.25, 2, 0.3)
    assert torch.equal(pool(x, rois, offset), deform_roi_pool(x, rois, offset, (3, 2), 0.25, 2, 0.3))
    assert torch.equal(pool(x, rois), roi_align(x, rois, (3, 2), 0.25, 2))
    assert 'gamma=0.3' in repr(pool)


def test_packs_start_as_roi_align(problem):
    x, rois, _ = problem
    plain, modulated = (cls((3, 2), 11, 16, 0.25, 2) for cls in (DeformRoIPoolPack, ModulatedDeformRoIPoolPack))
    expected = roi_align(x, rois, (3, 2), 0.25, 2)
    torch.testing.assert_close(plain(x, rois), expected)
    torch.testing.assert_close(modulated(x, rois), expected * 0.5)
    offset_keys = [f'offset_fc.{i}.{name}' for i in (0, 2, 4) for name in ('weight', 'bias')]
    assert list(plain.state_dict()) == offset_keys
    mask_keys = [f'mask_fc.{i}.{name}' for i in (0, 2) for name in ('weight', 'bias')]
    assert list(modulated.state_dict()) == offset_keys + mask_keys
    assert plain.offset_fc[4].weight.shape == (12, 16) and modulated.mask_fc[2].weight.shape == (6, 16)


def test_packs_learn(problem):
    x, rois, _ = problem
    pool = ModulatedDeformRoIPoolPack((3, 2), 11, 16, 0.25, 2)
    pool.offset_fc[4].bias.data[:6] = 1.5
    moved = deform_roi_pool(x, rois, torch.tensor([1.5, 0.0]).view(1, 2, 1, 1).expand(6, 2, 3, 2), (3, 2), 0.25, 2)
    out = pool(x, rois)
    torch.testing.assert_close(out, moved * 0.5)
    out.square().sum().backward()
    assert all(pool.get_parameter(f'{name}.bias').grad.abs().sum() > 0 for name in ('offset_fc.4', 'mask_fc.2'))
    assert pool(x, rois[:0]).shape == (0, 11, 3, 2)


@pytest.mark.parametrize('change, error, words', [
    ({'x': torch.zeros(3, 8, 8)}, ValueError, r'deform_roi_pool: x has shape \(3, 8, 8\)'),
    ({'rois': torch.zeros(2, 4)}, ValueError, r'rois has shape \(2, 4\), \(n, 5\) is expected'),
    ({'offset': torch.zeros(2, 2, 3, 3)}, ValueError, r'offset has shape \(2, 2, 3, 3\), \(2, 2, 2, 2\) is expected'),
    ({'offset': torch.zeros(2, 2, 2, 2).int()}, TypeError, 'offset has dtype torch.int32'),
    ({'offset': torch.zeros(2, 2, 2, 2, device='meta')}, ValueError, 'offset is on meta'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'x': torch.zeros(1, 3, 8, 8), 'rois': torch.zeros(2, 5), 'offset': torch.zeros(2, 2, 2, 2)}
    with pytest.raises(error, match=words):
        deform_roi_pool(**{**good, **change}, output_size=2)


def test_a_pack_names_the_wrong_channels(problem):
    with pytest.raises(ValueError, match='DeformRoIPoolPack: x has 11 channels, output_channels 12 is expected'):
        DeformRoIPoolPack(3, 12, 16)(*problem[:2])


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('ratio', [0, 2])
def test_cuda(cuda, problem, dtype, ratio):
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    results = []
    for device in ('cpu', cuda):
        x, rois, offset = (t.to(device) for t in problem)
        x, offset = x.to(dtype).requires_grad_(), offset.requires_grad_()
        out = deform_roi_pool(x, rois, offset, (3, 2), 0.25, ratio)
        results.append([t.detach().cpu() for t in (out, *torch.autograd.grad(out.sum(), (x, offset)))])
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_given_factors_multiply_bins(rng):
    x, rois = torch.randn(1, 3, 12, 14, generator=rng), torch.tensor([[0.0, 2, 3, 30, 40], [0, 8, 8, 50, 30]])
    offset, mask = torch.randn(2, 2, 3, 2, generator=rng), torch.rand(2, 1, 3, 2, generator=rng)
    settings = dict(output_size=(3, 2), spatial_scale=0.25, sampling_ratio=2)
    plain, modulated = DeformRoIPool(**settings)(x, rois, offset), ModulatedDeformRoIPool(**settings)
    torch.testing.assert_close(modulated(x, rois, offset, mask), plain * mask)
    torch.testing.assert_close(modulated(x, rois, offset), plain)
    with pytest.raises(ValueError, match=r'mask has shape \(2, 3, 2\), \(2, 1, 3, 2\) is expected'):
        modulated(x, rois, offset, mask[:, 0])
