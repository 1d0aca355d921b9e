import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from mmdetlike_ops import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
    SAConv2d,
    deform_conv2d,
    modulated_deform_conv2d,
)

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 4e-2}
# channels, out_channels, kernel, stride, padding, dilation, groups, deform_groups
GEOMETRIES = (
    (6, 4, (3, 3), 1, 1, 1, 1, 1),
    (12, 8, (3, 2), (2, 1), (1, 2), (2, 1), 2, 3),
    (40, 6, (1, 3), 1, 0, 1, 2, 1),
    (72, 72, (2, 2), 1, 0, 1, 72, 2),
)
each_geometry = pytest.mark.parametrize('geometry', GEOMETRIES, ids=['plain', 'mixed', 'groups', 'depthwise'])


def make_case(geometry=GEOMETRIES[0], seed=0, batch=2, size=(8, 9), spread=2.0, dtype=torch.float32):
    """Tensors x, offset, mask, weight, bias and the settings of a call."""
    channels, out_channels, kernel, stride, padding, dilation, groups, deform_groups = geometry
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, *size, generator=rng, dtype=torch.float64)
    weight = torch.randn(out_channels, channels // groups, *kernel, generator=rng, dtype=torch.float64)
    out_size = F.conv2d(x[:1], weight, None, stride, padding, dilation, groups).shape[2:]
    taps = kernel[0] * kernel[1] * deform_groups
    offset = spread * torch.randn(batch, 2 * taps, *out_size, generator=rng, dtype=torch.float64)
    mask = torch.rand(batch, taps, *out_size, generator=rng, dtype=torch.float64)
    bias = torch.randn(out_channels, generator=rng, dtype=torch.float64)
    tensors = [t.to(dtype).requires_grad_() for t in (x, offset, mask, weight, bias)]
    return tensors, (stride, padding, dilation, groups, deform_groups)


def slow_deform_conv(tensors, config):
    """The definition in plain PyTorch: `grid_sample` for each tap, then a product over taps and channels."""
    x, offset, mask, weight, bias = tensors
    stride, padding, dilation = (torch.nn.modules.utils._pair(value) for value in config[:3])
    groups, deform_groups = config[3:]
    (b, _, h, w), (out_channels, _, kh, kw), (out_h, out_w) = x.shape, weight.shape, offset.shape[2:]
    offset = offset.reshape(b, deform_groups, kh * kw, 2, out_h, out_w)
    mask = mask.reshape(b, deform_groups, kh * kw, 1, out_h, out_w)
    columns = []
    for tap, (i, j) in enumerate(itertools.product(range(kh), range(kw))):
        y = torch.arange(out_h, dtype=x.dtype)[:, None] * stride[0] - padding[0] + i * dilation[0]
        x_ = torch.arange(out_w, dtype=x.dtype) * stride[1] - padding[1] + j * dilation[1]
        y, x_ = y + offset[:, :, tap, 0], x_ + offset[:, :, tap, 1]
        grid = torch.stack([2 * x_ / (w - 1) - 1, 2 * y / (h - 1) - 1], dim=-1).flatten(0, 1)
        maps = x.reshape(b * deform_groups, -1, h, w)
        sampled = F.grid_sample(maps, grid, padding_mode='zeros', align_corners=True)
        columns.append(sampled.reshape(b, deform_groups, -1, out_h, out_w) * mask[:, :, tap])
    columns = torch.stack(columns, dim=3).reshape(b, groups, -1, kh * kw, out_h, out_w)
    filters = weight.reshape(groups, out_channels // groups, -1, kh * kw)
    out = torch.einsum('bgcthw,goct->bgohw', columns, filters).flatten(1, 2)
    return out + bias[:, None, None]


def run(tensors, config, upstream=None):
    """Output and gradients of the modulated convolution."""
    x, offset, mask, weight, bias = tensors
    out = modulated_deform_conv2d(x, offset, mask, weight, bias, *config)
    upstream = torch.ones_like(out) if upstream is None else upstream
    return [out.detach(), *torch.autograd.grad(out, tensors, upstream)]


@pytest.mark.parametrize('function', [deform_conv2d, modulated_deform_conv2d], ids=lambda f: f.__name__)
def test_recorded_cases(recording, function):
    cases = list(recording.select(function.__name__))
    assert len(cases) == 4
    for case, inputs, expected in cases:
        leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
        out = function(**leaves, **case['settings'])
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-4)
        out.backward(expected('upstream'))
        for name in case['grads']:
            torch.testing.assert_close(leaves[name].grad, expected(f'grad/{name}'), rtol=1e-4, atol=1e-4)


@each_geometry
def test_against_grid_sample(geometry):
    tensors, config = make_case(geometry, dtype=torch.float64)
    expected = slow_deform_conv(tensors, config)
    upstream = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = [expected.detach(), *torch.autograd.grad(expected, tensors, upstream)]
    for actual, value in zip(run(tensors, config, upstream), wanted):
        torch.testing.assert_close(actual, value)


def test_many_tiles_and_channel_blocks():
    tensors, config = make_case((136, 70, (3, 3), 1, 1, 1, 1, 2), batch=2, size=(66, 67))
    exact = [t.detach().double().requires_grad_() for t in tensors]
    upstream = torch.randn(2, 70, 66, 67, generator=torch.Generator().manual_seed(1))
    expected = slow_deform_conv(exact, config)
    wanted = [expected.detach(), *torch.autograd.grad(expected, exact, upstream.double())]
    for actual, value in zip(run(tensors, config, upstream), wanted):
        torch.testing.assert_close(actual.double(), value, rtol=1e-3, atol=1e-4 * value.abs().max().item())


@each_geometry
def test_gradcheck(geometry):
    tensors, config = make_case(geometry, size=(4, 5), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *t: modulated_deform_conv2d(*t, *config), tensors, fast_mode=True)
    x, offset, _, weight, _ = tensors
    assert torch.autograd.gradcheck(lambda *t: deform_conv2d(*t, *config), (x, offset, weight), fast_mode=True)


@given(st.sampled_from(GEOMETRIES), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_zero_offsets_are_a_convolution(geometry, seed):
    (x, offset, mask, weight, bias), config = make_case(geometry, seed, dtype=torch.float64)
    stride, padding, dilation, groups, _ = config
    expected = F.conv2d(x, weight, None, stride, padding, dilation, groups)
    zeros, ones = torch.zeros_like(offset), torch.ones_like(mask)
    torch.testing.assert_close(deform_conv2d(x, zeros, weight, *config), expected)
    with_bias = modulated_deform_conv2d(x, zeros, ones, weight, bias, *config)
    torch.testing.assert_close(with_bias, expected + bias[:, None, None])


@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_whole_offsets_shift_the_input(dy, dx, seed):
    (x, offset, _, weight, _), config = make_case(seed=seed, dtype=torch.float64)
    offset = torch.tensor([dy, dx], dtype=x.dtype).view(1, 2, 1, 1).repeat(2, 9, *offset.shape[2:])
    shifted = F.pad(x, (4, 4, 4, 4))[:, :, 4 + dy : 12 + dy, 4 + dx : 13 + dx]
    # What the shift brings in from outside the map is zero, as is what lies outside the shifted map but not the map.
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    actual, expected = deform_conv2d(x, offset, weight, *config), F.conv2d(shifted, weight, padding=1)
    torch.testing.assert_close(actual[inner], expected[inner])


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_linear_in_features_and_masks(a, b, share, seed):
    (x, offset, mask, weight, _), config = make_case(seed=seed, dtype=torch.float64)
    other = torch.flip(x, [0])

    def conv(x, mask):
        return modulated_deform_conv2d(x, offset, mask, weight, None, *config)

    torch.testing.assert_close(conv(a * x + b * other, mask), a * conv(x, mask) + b * conv(other, mask))
    torch.testing.assert_close(conv(x, share * mask) + conv(x, (1 - share) * mask), conv(x, mask))


def test_a_mask_of_zero_leaves_the_bias():
    (x, offset, mask, weight, bias), config = make_case()
    out = modulated_deform_conv2d(x, offset, torch.zeros_like(mask), weight, bias, *config)
    assert torch.equal(out, bias[:, None, None].expand_as(out))


@pytest.mark.parametrize('far', [30.0, -30.0, 1e30, float('inf'), -float('inf'), float('nan')])
def test_offsets_outside_the_map_read_zero(far):
    (x, offset, mask, weight, bias), config = make_case()
    x.data[0, :, 0, 0] = float('nan')
    tensors = [x, torch.full_like(offset, far).requires_grad_(), mask, weight, bias]
    out, grad_x, grad_offset, grad_mask, grad_weight, _ = run(tensors, config)
    assert torch.equal(out, bias[:, None, None].expand_as(out))
    for grad in (grad_x, grad_offset, grad_mask, grad_weight):
        assert grad.abs().sum() == 0
    assert deform_conv2d(x, tensors[1], weight, *config).abs().sum() == 0


def test_samples_fade_out_over_the_last_pixel():
    x, weight = torch.full((1, 1, 4, 4), 8.0), torch.ones(1, 1, 1, 1)
    for shift, expected in ((-0.25, 6.0), (-1.0, 0.0), (3.75, 2.0), (4.0, 0.0), (3.0, 8.0)):
        offset = torch.zeros(1, 2, 4, 4)
        offset[:, 0] = shift
        assert deform_conv2d(x, offset, weight)[0, 0, 0, 0] == expected


@pytest.mark.parametrize('size', [(1, 1), (2, 4), (3, 2)])
def test_inputs_smaller_than_the_kernel(size):
    tensors, config = make_case((6, 4, (3, 3), 1, 1, 1, 1, 1), size=size)
    x, offset, mask, weight, bias = tensors
    more = [3 - n if n < 3 else 0 for n in size]
    padded = [F.pad(t, (0, more[1], 0, more[0])) for t in (x, offset, mask)]
    expected = modulated_deform_conv2d(*padded, weight, bias, *config)[:, :, : size[0], : size[1]]
    torch.testing.assert_close(modulated_deform_conv2d(*tensors, *config), expected)


@each_geometry
@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes(geometry, dtype):
    tensors, config = make_case(geometry, dtype=dtype)
    exact = [t.detach().double().requires_grad_() for t in tensors]
    for actual, expected in zip(run(tensors, config), run(exact, config)):
        assert actual.dtype == dtype
        scale = expected.abs().max().item()
        torch.testing.assert_close(actual.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def test_dtypes_may_differ():
    (x, offset, mask, weight, bias), config = make_case()
    x16 = x.detach().bfloat16().requires_grad_()
    results = run([x16, offset, mask, weight, bias], config)
    assert [t.dtype for t in results] == [torch.bfloat16] * 2 + [torch.float32] * 4
    expected = modulated_deform_conv2d(x, offset, mask, weight, bias, *config)
    torch.testing.assert_close(results[0].float(), expected, rtol=0.03, atol=0.1)
    with torch.autocast('cpu', torch.bfloat16):
        again = modulated_deform_conv2d(x, offset.bfloat16(), mask, weight, bias, *config)
    assert again.dtype == torch.float32


@each_geometry
def test_strides_do_not_matter(geometry):
    tensors, config = make_case(geometry, size=(20, 17))
    out, *grads = run(tensors, config)
    assert out.is_contiguous()
    layouts = (
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
        lambda t: torch.cat([t, t], 1)[:, t.shape[1] :],
    )
    for layout in layouts:
        strided = [layout(t.detach()).requires_grad_() for t in tensors[:4]]
        results = run([*strided, tensors[4]], config, layout(torch.ones_like(out)))
        for actual, expected in zip(results, (out, *grads)):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-4)
    x_last = layouts[0](tensors[0])
    assert modulated_deform_conv2d(x_last, *tensors[1:], *config).is_contiguous(memory_format=torch.channels_last)


def test_empty_batch():
    tensors, config = make_case(batch=0)
    out, grad_x, grad_offset, grad_mask, grad_weight, grad_bias = run(tensors, config)
    assert out.shape == (0, 4, 8, 9)
    assert (grad_x.shape, grad_offset.shape, grad_mask.shape) == ((0, 6, 8, 9), (0, 18, 8, 9), (0, 9, 8, 9))
    assert grad_weight.abs().sum() == grad_bias.abs().sum() == 0
    assert deform_conv2d(tensors[0], tensors[1], tensors[3], *config).shape == (0, 4, 8, 9)


@pytest.mark.parametrize('size', [(8, 9), (70, 64)])
def test_does_not_depend_on_threads(size):
    tensors, config = make_case((136, 70, (3, 3), 1, 1, 1, 1, 2), size=size)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(run(tensors, config))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        for actual, expected in zip(other, results[0]):
            assert torch.equal(actual, expected)


def test_memory_stays_far_below_the_columns():
    resource = pytest.importorskip('resource')
    tensors, config = make_case((64, 8, (5, 5), 1, 2, 1, 1, 1), batch=4, size=(128, 128))
    columns = 4 * 4 * 128 * 128 * 64 * 25  # bytes, had they been unfolded for the batch
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    run(tensors, config)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < columns / 4


def test_the_step_must_divide_the_batch():
    (x, offset, _, weight, _), config = make_case(batch=6)
    expected = deform_conv2d(x, offset, weight, *config)
    for step in (1, 3, 6, 32):
        assert torch.equal(deform_conv2d(x, offset, weight, *config, im2col_step=step), expected)
    for step in (4, 0):
        with pytest.raises(ValueError, match=f'im2col_step is {step}, a positive number that divides the batch of 6'):
            deform_conv2d(x, offset, weight, *config, im2col_step=step)


@pytest.mark.parametrize('batch', [1, 32, 33, 37, 80])
def test_any_batch_is_taken_without_a_step(batch):
    (x, offset, _, weight, _), config = make_case(batch=batch)
    whole = deform_conv2d(x, offset, weight, *config)
    parts = [deform_conv2d(x[i : i + 1], offset[i : i + 1], weight, *config) for i in range(batch)]
    torch.testing.assert_close(whole, torch.cat(parts))
    layer = DeformConv2d(x.shape[1], weight.shape[0], weight.shape[2:], *config)
    assert layer(x.float(), offset.float()).shape == whole.shape
    layer.im2col_step = 32
    if batch > 32:
        with pytest.raises(ValueError, match=f'im2col_step is 32, .* divides the batch of {batch}'):
            layer(x.float(), offset.float())


@pytest.mark.parametrize('change, error, words', [
    ({'x': torch.zeros(4, 8, 8)}, ValueError, r'x has shape \(4, 8, 8\), \(b, c, h, w\) is expected'),
    ({'x': torch.zeros(2, 4, 8, 8).int()}, TypeError, 'x has dtype torch.int32, a floating dtype'),
    ({'x': [1.0]}, TypeError, 'x is a list, a tensor is expected'),
    ({'offset': torch.zeros(2, 9, 8, 8)}, ValueError, r'offset has shape .*, \(2, 18, 8, 8\) is expected'),
    ({'offset': torch.zeros(2, 18, 8, 8, device='meta')}, ValueError, 'offset is on meta'),
    ({'mask': torch.zeros(2, 9, 7, 8)}, ValueError, r'mask has shape .*, \(2, 9, 8, 8\) is expected'),
    ({'weight': torch.zeros(4, 3, 3, 3)}, ValueError, 'weight has shape .* should be the 4 channels of x'),
    ({'weight': torch.zeros(4, 3)}, ValueError, r'weight has shape .*, \(c_out, c / groups, kh, kw\) is expected'),
    ({'bias': torch.zeros(5)}, ValueError, r'bias has shape \(5,\), \(4,\) is expected'),
    ({'groups': 3}, ValueError, 'groups is 3, a divisor of 4 channels is expected'),
    ({'deform_groups': 0}, ValueError, 'deform_groups is 0, a divisor of 4 channels is expected'),
    ({'stride': 0}, ValueError, 'stride is 0, one or two numbers from 1 on are expected'),
    ({'padding': (1, -1)}, ValueError, r'padding is \(1, -1\), one or two numbers from 0 on'),
    ({'dilation': 9}, ValueError, r'x of \(8, 8\) pixels with padding \(1, 1\) is smaller than the kernel of \(3, 3\)'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'x': torch.zeros(2, 4, 8, 8), 'offset': torch.zeros(2, 18, 8, 8), 'mask': torch.zeros(2, 9, 8, 8)}
    good |= {'weight': torch.zeros(4, 4, 3, 3), 'bias': torch.zeros(4), 'padding': 1}
    modulated_deform_conv2d(**good)
    with pytest.raises(error, match=words):
        modulated_deform_conv2d(**{**good, **change})


def test_no_bias_without_modulation():
    (x, offset, _, weight, _), config = make_case()
    with pytest.raises(ValueError, match='bias is True, only False is possible'):
        deform_conv2d(x, offset, weight, *config, bias=True)


@each_geometry
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_dispatcher_contract(geometry, layout):
    (x, offset, mask, weight, bias), (*pairs, groups, deform_groups) = make_case(geometry, size=(5, 6))
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    pairs = [list(torch.nn.modules.utils._pair(value)) for value in pairs]
    kernel = torch.ops.mmdetlike_ops.deform_conv2d.default
    opcheck(kernel, (x, offset, mask, weight, bias, *pairs, groups, deform_groups, 2))
    opcheck(kernel, (x, offset, None, weight, None, *pairs, groups, deform_groups, 2))


@pytest.mark.parametrize('layer', [DeformConv2dPack, ModulatedDeformConv2dPack, SAConv2d])
def test_exports_with_any_batch(layer):
    settings = {'use_deform': True} if layer is SAConv2d else {}
    net = layer(6, 4, 3, padding=1, **settings).eval()
    program = torch.export.export(net, (torch.rand(3, 6, 8, 9),), dynamic_shapes=({0: torch.export.Dim('b', max=32)},))
    x = torch.rand(5, 6, 8, 9)
    torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.gpu
@each_geometry
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('deterministic', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
def test_cuda(cuda, monkeypatch, geometry, layout, deterministic, dtype):
    monkeypatch.setattr(torch, 'are_deterministic_algorithms_enabled', lambda: deterministic)
    tensors, config = make_case(geometry, size=(40, 33), dtype=dtype)
    tensors[0] = tensors[0].detach().contiguous(memory_format=layout).requires_grad_()
    on_gpu = [t.detach().to(cuda).requires_grad_() for t in tensors]
    results = run(on_gpu, config)
    for actual, expected in zip(results, run(tensors, config)):
        scale = expected.abs().max().item()
        torch.testing.assert_close(actual.cpu(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)
    if deterministic:
        assert all(torch.equal(a, b) for a, b in zip(results, run(on_gpu, config)))
    x, offset, _, weight, _ = tensors
    for step in (1, 2):
        actual = deform_conv2d(on_gpu[0], on_gpu[1], on_gpu[3], *config, im2col_step=step)
        expected = deform_conv2d(x, offset, weight, *config)
        torch.testing.assert_close(
            actual.cpu(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * expected.abs().max().item()
        )


@pytest.mark.gpu
def test_cuda_under_autocast_and_without_sense(cuda):
    tensors, config = make_case()
    with torch.autocast('cuda', torch.float16):
        x, offset, mask, weight, bias = (t.detach().to(cuda) for t in tensors)
        out = modulated_deform_conv2d(x, offset, mask, weight, bias, *config)
        torch.testing.assert_close(out.cpu(), modulated_deform_conv2d(*tensors, *config), rtol=1e-3, atol=1e-3)
        for far in (1e30, float('nan'), -float('inf')):
            assert deform_conv2d(x, torch.full_like(offset, far), weight, *config).abs().sum() == 0
        assert modulated_deform_conv2d(x[:0], offset[:0], mask[:0], weight, bias, *config).shape == (0, 4, 8, 9)
