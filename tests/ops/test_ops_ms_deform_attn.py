from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import ms_deform_attn

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SHAPES = torch.tensor([[6, 9], [3, 5], [1, 2]])


def starts_of(shapes):
    return shapes.prod(1).cumsum(0) - shapes.prod(1)


def random_inputs(rng, b=2, q=7, h=3, c=8, p=2, shapes=SHAPES, dtype=torch.float32):
    s, l = int(shapes.prod(1).sum()), len(shapes)
    value = torch.randn(b, s, h, c, generator=rng, dtype=torch.float64)
    locations = torch.rand(b, q, h, l, p, 2, generator=rng, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.randn(b, q, h, l * p, generator=rng, dtype=torch.float64).softmax(-1).view(b, q, h, l, p)
    return [x.to(dtype).requires_grad_() for x in (value, locations, weights)]


def attend(value, locations, weights, shapes=SHAPES):
    return ms_deform_attn(value, shapes, starts_of(shapes), locations, weights)


def slow_attention(value, locations, weights, shapes=SHAPES):
    """Level by level with `grid_sample`."""
    b, _, h, c = value.shape
    out = 0
    for level, pixels in enumerate(value.split(shapes.prod(1).tolist(), dim=1)):
        maps = pixels.permute(0, 2, 3, 1).reshape(b * h, c, *shapes[level].tolist())
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples = F.grid_sample(maps, grid, align_corners=False)
        out = out + (samples * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
    return out.reshape(b, h * c, -1).transpose(1, 2)


def out_and_gradients(function, inputs):
    out = function(*inputs)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out.detach(), *torch.autograd.grad(out, inputs, upstream)]


@contextmanager
def deterministic_algorithms(wanted):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def test_recorded(recording):
    for case, inputs, expected in recording.select('ms_deform_attn'):
        shapes = torch.tensor(case['settings']['spatial_shapes'])
        for x in inputs.values():
            x.requires_grad_()
        out = ms_deform_attn(spatial_shapes=shapes, level_start_index=starts_of(shapes), **inputs)
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-5)
        out.backward(expected('upstream'))
        for name in case['grads']:
            torch.testing.assert_close(inputs[name].grad, expected(f'grad/{name}'), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('channels', [1, 7, 8, 32, 45])
@pytest.mark.parametrize('queries', [3, 70])
def test_against_grid_sample(rng, channels, queries):
    inputs = random_inputs(rng, q=queries, c=channels, dtype=torch.float64)
    for actual, expected in zip(out_and_gradients(attend, inputs), out_and_gradients(slow_attention, inputs)):
        torch.testing.assert_close(actual, expected)


def test_gradcheck(rng):
    inputs = random_inputs(rng, q=3, h=2, c=9, dtype=torch.float64)
    assert torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes(rng, dtype):
    value, locations, weights = random_inputs(rng)
    mixed = [value.detach().to(dtype).requires_grad_(), locations, weights]
    exact = [x.detach().double().requires_grad_() for x in mixed]
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    results = out_and_gradients(attend, mixed)
    assert [x.dtype for x in results] == [dtype, dtype, torch.float32, torch.float32]
    out = attend(*exact)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype).double()
    for actual, expected in zip(results, (out, *torch.autograd.grad(out, exact, upstream))):
        limit = max(tolerance, 1e-4) if actual.dtype == torch.float32 else tolerance
        torch.testing.assert_close(actual.double(), expected, rtol=limit, atol=limit)


def test_half_locations_are_used_in_float32(rng):
    inputs = [x.detach().bfloat16().requires_grad_() for x in random_inputs(rng)]
    results = out_and_gradients(attend, inputs)
    assert {x.dtype for x in results} == {torch.bfloat16}
    expected = attend(inputs[0], *(x.float() for x in inputs[1:]))
    assert torch.equal(results[0], expected)


def test_strides_do_not_matter(rng):
    value, locations, weights = (x.detach() for x in random_inputs(rng))
    expected = attend(value, locations, weights)
    assert torch.equal(attend(value.transpose(1, 2).contiguous().transpose(1, 2), locations, weights), expected)
    flipped = [x.transpose(1, 3).contiguous().transpose(1, 3) for x in (locations, weights)]
    assert torch.equal(attend(value, *flipped), expected)
    shapes = SHAPES.T.contiguous().T
    assert torch.equal(ms_deform_attn(value, shapes, starts_of(SHAPES).int(), locations, weights), expected)


def test_non_contiguous_gradient(rng):
    inputs = random_inputs(rng)
    out = attend(*inputs)
    upstream = torch.randn(out.shape, generator=rng)
    expected = torch.autograd.grad(out, inputs, upstream, retain_graph=True)
    strided = torch.autograd.grad(out, inputs, upstream.transpose(0, 1).contiguous().transpose(0, 1))
    assert all(torch.equal(a, b) for a, b in zip(strided, expected))


@pytest.mark.parametrize('sizes', [{'b': 0}, {'q': 0}, {'p': 0}, {'c': 0}, {'h': 0}])
def test_empty(rng, sizes):
    inputs = random_inputs(rng, **sizes)
    out, *grads = out_and_gradients(attend, inputs)
    assert out.shape == (inputs[0].shape[0], inputs[1].shape[1], inputs[0].shape[2] * inputs[0].shape[3])
    assert out.abs().sum() == 0
    assert [x.shape for x in grads] == [x.shape for x in inputs]
    assert all(x.abs().sum() == 0 for x in grads)


def test_locations_without_sense_give_zero(rng):
    value, locations, weights = random_inputs(rng)
    for far in (float('nan'), float('inf'), -float('inf'), 1e30, -1e30, 2e9, 1.5, -1.0):
        out, *grads = out_and_gradients(attend, [value, torch.full_like(locations, far).requires_grad_(), weights])
        assert out.abs().sum() == 0
        assert all(x.abs().sum() == 0 for x in grads)


@given(st.floats(-2, 2), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_constant_value_is_kept_inside_the_map(constant, height, width, seed):
    rng = torch.Generator().manual_seed(seed)
    shapes = torch.tensor([[height, width]])
    _, locations, weights = random_inputs(rng, shapes=shapes)
    size = torch.tensor([width, height])
    locations = (0.5 + locations.detach().clamp(0, 1) * (size - 1)) / size
    value = torch.full((2, height * width, 3, 8), constant)
    torch.testing.assert_close(attend(value, locations, weights, shapes), torch.full((2, 7, 24), constant))


@given(st.floats(-3, 3), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_linear_in_value_and_weights(factor, seed):
    value, locations, weights = random_inputs(torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = factor * attend(value, locations, weights)
    torch.testing.assert_close(attend(factor * value, locations, weights), expected)
    torch.testing.assert_close(attend(value, locations, factor * weights), expected)


@pytest.mark.parametrize('change, error, words', [
    ({'value': torch.zeros(2, 71, 24)}, ValueError, r'value has shape \(2, 71, 24\), \(b, s, h, c\) is expected'),
    ({'value': torch.zeros(2, 71, 3, 8).int()}, TypeError, 'value has dtype torch.int32, a floating dtype'),
    ({'spatial_shapes': SHAPES.float()}, TypeError, 'spatial_shapes has dtype torch.float32, integers are expected'),
    ({'spatial_shapes': [[6, 9], [3, 5]]}, TypeError, 'spatial_shapes is a list, a tensor is expected'),
    ({'spatial_shapes': SHAPES[0]}, ValueError, r'spatial_shapes has shape \(2,\), \(l, 2\) is expected'),
    ({'spatial_shapes': SHAPES - torch.tensor([[0, 0], [0, 0], [0, 1]])}, RuntimeError,
     'spatial_shapes add up to 70 pixels, value has 71'),
    ({'spatial_shapes': torch.tensor([[6, 9], [3, 5], [0, 2]])}, RuntimeError, r'spatial_shapes\[2\] is \(0, 2\)'),
    ({'spatial_shapes': torch.tensor([[2**40, 2**40], [3, 5], [1, 2]])}, RuntimeError, r'spatial_shapes\[0\]'),
    ({'level_start_index': torch.tensor([0, 54, 70])}, RuntimeError, r'level_start_index\[2\] is 70, 69 is expected'),
    ({'level_start_index': torch.tensor([0, 54])}, ValueError, r'level_start_index has shape \(2,\), \(3,\)'),
    ({'sampling_locations': torch.zeros(2, 7, 3, 3, 2)}, ValueError, r'\(2, q, 3, 3, p, 2\) is expected'),
    ({'sampling_locations': torch.zeros(1, 7, 3, 3, 2, 2)}, ValueError, r'\(2, q, 3, 3, p, 2\) is expected'),
    ({'attention_weights': torch.zeros(2, 7, 3, 3, 4)}, ValueError, r'\(2, 7, 3, 3, 2\) is expected'),
    ({'attention_weights': torch.zeros(2, 7, 3, 3, 2, device='meta')}, ValueError, 'attention_weights is on meta'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {
        'value': torch.zeros(2, 71, 3, 8),
        'spatial_shapes': SHAPES,
        'level_start_index': starts_of(SHAPES),
        'sampling_locations': torch.zeros(2, 7, 3, 3, 2, 2),
        'attention_weights': torch.zeros(2, 7, 3, 3, 2),
    }
    with pytest.raises(error, match=words):
        ms_deform_attn(**{**good, **change})


@pytest.mark.gpu
@pytest.mark.parametrize('deterministic', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('channels', [5, 8, 32, 40])
def test_cuda(cuda, rng, channels, dtype, deterministic):
    value, locations, weights = random_inputs(rng, q=50, c=channels)
    inputs = [value.detach().to(dtype).requires_grad_(), locations, weights]
    on_device = [x.detach().to(cuda).requires_grad_() for x in inputs]
    shapes, starts = SHAPES.to(cuda), starts_of(SHAPES).to(cuda)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    with deterministic_algorithms(deterministic):
        for args in ((shapes, starts), (SHAPES, starts_of(SHAPES))):
            results = out_and_gradients(lambda v, x, w, args=args: ms_deform_attn(v, *args, x, w), on_device)
            for actual, expected in zip(results, out_and_gradients(attend, inputs)):
                torch.testing.assert_close(actual.cpu(), expected, rtol=tolerance, atol=tolerance)
