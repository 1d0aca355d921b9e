import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.layers import build_upsample_layer
from mmdetlike_ops import CARAFE, CARAFENaive, CARAFEPack, carafe, carafe_naive

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def random_inputs(rng, n=2, c=6, h=5, w=7, kernel=3, groups=2, scale=2, dtype=torch.float32):
    features = torch.randn(n, c, h, w, generator=rng, dtype=torch.float64)
    masks = torch.randn(n, groups * kernel**2, h * scale, w * scale, generator=rng, dtype=torch.float64)
    return [x.to(dtype).requires_grad_() for x in (features, masks)]


def pixel_by_pixel(features, masks, kernel, groups, scale):
    n, c, h, w = features.shape
    out = features.new_zeros(n, c, h * scale, w * scale)
    for channel in range(c):
        group = channel // (c // groups)
        for y in range(h * scale):
            for x in range(w * scale):
                for i in range(kernel):
                    for j in range(kernel):
                        row, column = y // scale + i - kernel // 2, x // scale + j - kernel // 2
                        if 0 <= row < h and 0 <= column < w:
                            weight = masks[:, group * kernel**2 + i * kernel + j, y, x]
                            out[:, channel, y, x] += weight * features[:, channel, row, column]
    return out


def out_and_gradients(function, inputs):
    out = function(*inputs)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out.detach(), *torch.autograd.grad(out, inputs, upstream)]


@pytest.mark.parametrize('function', [carafe, carafe_naive])
@pytest.mark.parametrize('kernel, groups, scale', [(3, 1, 2), (5, 2, 2), (1, 3, 1), (3, 2, 3)])
def test_by_definition(rng, function, kernel, groups, scale):
    inputs = random_inputs(rng, h=3, w=4, kernel=kernel, groups=groups, scale=scale, dtype=torch.float64)
    with torch.no_grad():
        expected = pixel_by_pixel(*inputs, kernel, groups, scale)
        torch.testing.assert_close(function(*inputs, kernel, groups, scale), expected)


@pytest.mark.parametrize('channels', [1, 4, 7, 16])
@pytest.mark.parametrize('kernel, width, scale', [(5, 13, 2), (7, 4, 2), (3, 9, 1), (3, 5, 4)])
def test_against_the_naive_implementation(rng, channels, kernel, width, scale):
    inputs = random_inputs(rng, c=2 * channels, w=width, kernel=kernel, scale=scale, dtype=torch.float64)
    results = [out_and_gradients(lambda *x, f=f: f(*x, kernel, 2, scale), inputs) for f in (carafe, carafe_naive)]
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected)


def test_gradcheck(rng):
    inputs = random_inputs(rng, h=3, w=5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *x: carafe(*x, 3, 2, 2), inputs)


@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes(rng, dtype):
    inputs = random_inputs(rng, dtype=dtype)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    upstream = torch.randn(2, 6, 10, 14, generator=rng).to(dtype)
    out, wanted = carafe(*inputs, 3, 2, 2), carafe(*exact, 3, 2, 2)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), wanted, rtol=tolerance, atol=tolerance)
    grads = torch.autograd.grad(out, inputs, upstream)
    for actual, expected in zip(grads, torch.autograd.grad(wanted, exact, upstream.double())):
        assert actual.dtype == dtype
        torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


def test_masks_are_used_in_the_dtype_of_the_features(rng):
    features, masks = random_inputs(rng)
    expected = carafe(features.bfloat16(), masks.bfloat16(), 3, 2, 2)
    assert torch.equal(carafe(features.bfloat16(), masks, 3, 2, 2), expected)


def test_strides_do_not_matter(rng):
    features, masks = (x.detach() for x in random_inputs(rng))
    expected = carafe(features, masks, 3, 2, 2)
    last = [x.contiguous(memory_format=torch.channels_last) for x in (features, masks)]
    assert torch.equal(carafe(*last, 3, 2, 2), expected)
    assert torch.equal(carafe(torch.cat([features, features], 1)[:, 6:], masks, 3, 2, 2), expected)


def test_non_contiguous_gradient(rng):
    inputs = random_inputs(rng)
    out = carafe(*inputs, 3, 2, 2)
    upstream = torch.randn(out.shape, generator=rng)
    expected = torch.autograd.grad(out, inputs, upstream, retain_graph=True)
    strided = torch.autograd.grad(out, inputs, upstream.contiguous(memory_format=torch.channels_last))
    assert all(torch.equal(a, b) for a, b in zip(strided, expected))


@pytest.mark.parametrize('sizes', [{'n': 0}, {'c': 0}, {'h': 0}, {'w': 0}])
def test_empty(rng, sizes):
    inputs = random_inputs(rng, **sizes)
    out, *grads = out_and_gradients(lambda *x: carafe(*x, 3, 2, 2), inputs)
    n, c, h, w = inputs[0].shape
    assert out.shape == (n, c, 2 * h, 2 * w)
    assert [x.shape for x in grads] == [x.shape for x in inputs]
    assert all(x.abs().sum() == 0 for x in grads)


@given(st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 9), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_kernel_with_one_tap_shifts_the_features(kernel, scale, width, seed):
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 3, 4, width, generator=rng)
    tap = int(torch.randint(0, kernel**2, (1,), generator=rng))
    masks = torch.zeros(1, kernel**2, 4 * scale, width * scale)
    masks[:, tap] = 1
    padded = torch.nn.functional.pad(features, [kernel // 2] * 4)
    shifted = padded[:, :, tap // kernel :, tap % kernel :][:, :, :4, :width]
    expected = shifted.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(carafe(features, masks, kernel, 1, scale), expected)


@pytest.mark.parametrize('change, error, words', [
    ({'features': torch.zeros(6, 5, 7)}, ValueError, r'features has shape \(6, 5, 7\), \(n, c, h, w\)'),
    ({'features': torch.zeros(2, 5, 5, 7)}, ValueError, r'features has shape \(2, 5, 5, 7\), .* a multiple of 2'),
    ({'features': torch.zeros(2, 6, 5, 7).int()}, TypeError, 'features has dtype torch.int32'),
    ({'masks': torch.zeros(2, 9, 10, 14)}, ValueError, r'masks has shape \(2, 9, 10, 14\), \(2, 18, 10, 14\) is exp'),
    ({'masks': torch.zeros(2, 18, 10, 14, device='meta')}, ValueError, 'masks is on meta'),
    ({'kernel_size': 4}, ValueError, 'kernel_size is 4, an odd number is expected'),
    ({'group_size': 0}, ValueError, 'group_size is 0, a positive number'),
    ({'scale_factor': 0}, ValueError, 'scale_factor is 0, a positive number'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {
        'features': torch.zeros(2, 6, 5, 7),
        'masks': torch.zeros(2, 18, 10, 14),
        'kernel_size': 3,
        'group_size': 2,
        'scale_factor': 2,
    }
    with pytest.raises(error, match=words):
        carafe(**{**good, **change})


def test_modules_are_the_functions(rng):
    inputs = random_inputs(rng)
    assert torch.equal(CARAFE(3, 2, 2)(*inputs), carafe(*inputs, 3, 2, 2))
    assert torch.equal(CARAFENaive(3, 2, 2)(*inputs), carafe_naive(*inputs, 3, 2, 2))
    assert repr(CARAFE(3, 2, 2)) == 'CARAFE(kernel_size=3, group_size=2, scale_factor=2)'


def test_pack(rng):
    layer = build_upsample_layer({'type': 'carafe', 'channels': 6, 'scale_factor': 2, 'up_kernel': 3, 'up_group': 2})
    assert isinstance(layer, CARAFEPack)
    assert {name: tuple(x.shape) for name, x in layer.state_dict().items()} == {
        'channel_compressor.weight': (64, 6, 1, 1),
        'channel_compressor.bias': (64,),
        'content_encoder.weight': (72, 64, 3, 3),
        'content_encoder.bias': (72,),
    }
    assert 0.0008 < layer.content_encoder.weight.std() < 0.0012
    assert layer.channel_compressor.weight.abs().max() <= math.sqrt(6 / 70)
    torch.nn.init.normal_(layer.content_encoder.weight)
    x = torch.randn(2, 6, 5, 7, generator=rng)
    masks = layer.predict_masks(x)
    torch.testing.assert_close(masks.view(2, 2, 9, 10, 14).sum(2), torch.ones(2, 2, 10, 14))
    logits = layer.content_encoder(layer.channel_compressor(x))[:, 4 * 11 + 2 * 1 + 0]  # mask 11, pixels (odd, even)
    ratio = logits - layer.content_encoder(layer.channel_compressor(x))[:, 4 * 12 + 2]
    torch.testing.assert_close((masks[:, 11] / masks[:, 12])[:, 1::2, ::2], ratio.exp(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer(x), carafe(x, masks, 3, 2, 2))


def test_pack_at_the_start_averages_the_neighbours(rng):
    layer = CARAFEPack(4, 2)
    x = torch.randn(1, 4, 9, 9, generator=rng)
    expected = torch.nn.functional.avg_pool2d(x, 5, 1, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(layer(x), expected, rtol=0.05, atol=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('channels', [6, 20])
def test_cuda(cuda, rng, channels, dtype):
    inputs = random_inputs(rng, c=channels, kernel=5, dtype=dtype)
    on_device = [x.detach().to(cuda).requires_grad_() for x in inputs]
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    results = [out_and_gradients(lambda *x: carafe(*x, 5, 2, 2), x) for x in (on_device, inputs)]
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual.cpu(), expected, rtol=tolerance, atol=tolerance)
