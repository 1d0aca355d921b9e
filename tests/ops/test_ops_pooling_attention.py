"""CornerPool, BorderAlign, PSAMask and criss-cross attention."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.registry import MODELS
from mmdetlike_ops import BorderAlign, CornerPool, CrissCrossAttention, PSAMask, border_align, psa_mask

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
MODES = ('top', 'bottom', 'left', 'right')
KERNELS = torch.ops.mmdetlike_ops


def random_boxes(rng, b=2, k=9, h=12, w=16):
    """(b, k, 4) boxes, some of them partly outside a map of h x w."""
    centres = torch.rand(b, k, 2, generator=rng) * torch.tensor([w, h])
    sizes = torch.rand(b, k, 2, generator=rng) * 8
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)


BOXES = random_boxes(torch.Generator().manual_seed(3))
# name: (function, channels)
FUNCTIONS = {
    **{mode: (CornerPool(mode), 12) for mode in MODES},
    'border': (lambda x: border_align(x, BOXES.to(x.device), 5), 12),
    'collect': (lambda x: psa_mask(x, 'collect', (3, 5)), 15),
    'distribute': (lambda x: psa_mask(x, 'distribute', (3, 5)), 15),
}
each_function = pytest.mark.parametrize('name', FUNCTIONS)


def make(rng, name, dtype=torch.float32, size=(12, 16)):
    function, channels = FUNCTIONS[name]
    return function, torch.randn(2, channels, *size, generator=rng, dtype=torch.float64).to(dtype).requires_grad_()


def out_and_gradient(function, x):
    out = function(x)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return out.detach(), torch.autograd.grad(out, x, upstream)[0]


def sample(plane, y, x):
    """Bilinear sample of (c, h, w) at one point, clamped within a pixel of the map, 0 beyond."""
    h, w = plane.shape[1:]
    if not (-1 <= y <= h and -1 <= x <= w):
        return plane.new_zeros(plane.shape[0])
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = min(int(y), max(h - 2, 0)), min(int(x), max(w - 2, 0))
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    fy, fx = y - top, x - left
    upper = (1 - fx) * plane[:, top, left] + fx * plane[:, top, right]
    return (1 - fy) * upper + fy * ((1 - fx) * plane[:, bottom, left] + fx * plane[:, bottom, right])


def slow_border_align(x, boxes, pool_size):
    b, channels = x.shape[0], x.shape[1] // 4
    out = []
    for image in range(b):
        for x1, y1, x2, y2 in boxes[image].tolist():
            steps = [i / pool_size for i in range(pool_size + 1)]
            borders = (
                [(y1, x1 + t * (x2 - x1)) for t in steps],
                [(y1 + t * (y2 - y1), x1) for t in steps],
                [(y2, x1 + t * (x2 - x1)) for t in steps],
                [(y1 + t * (y2 - y1), x2) for t in steps],
            )
            maps = x[image].split(channels)
            samples = [torch.stack([sample(m, *p) for p in points]).amax(0) for m, points in zip(maps, borders)]
            out.append(torch.stack(samples, dim=-1))
    return torch.stack(out).view(b, boxes.shape[1], channels, 4).transpose(1, 2)


def slow_psa_mask(x, psa_type, mask_height, mask_width):
    n, _, h, w = x.shape
    out = x.new_zeros(n, h, w, h, w)
    for y in range(h):
        for column in range(w):
            for i in range(mask_height):
                for j in range(mask_width):
                    row, col = y + i - (mask_height - 1) // 2, column + j - (mask_width - 1) // 2
                    if not (0 <= row < h and 0 <= col < w):
                        continue
                    at = (row, col, y, column) if psa_type == 'collect' else (y, column, row, col)
                    out[:, at[0], at[1], at[2], at[3]] = x[:, i * mask_width + j, y, column]
    return out.reshape(n, h * w, h, w)


def test_recorded_corner_pool(recording):
    for case, inputs, expected in recording.select('corner_pool'):
        inputs['x'].requires_grad_()
        out = CornerPool(**case['settings'])(inputs['x'])
        torch.testing.assert_close(out, expected('out'), rtol=1e-4, atol=1e-5)
        out.backward(expected('upstream'))
        torch.testing.assert_close(inputs['x'].grad, expected('grad/x'), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('size', [(7, 9), (1, 5), (5, 1), (33, 17)])
def test_corner_pool_is_a_running_maximum(rng, mode, size):
    """Also among equal values, of which cummax takes the last."""
    x = torch.randint(0, 6, (2, 3, *size), generator=rng).double().requires_grad_()
    dim, flip = (2 if mode in ('top', 'bottom') else 3), mode in ('top', 'left')

    def slow(x):
        return torch.cummax(x.flip(dim), dim)[0].flip(dim) if flip else torch.cummax(x, dim)[0]

    for actual, expected in zip(out_and_gradient(CornerPool(mode), x), out_and_gradient(slow, x)):
        torch.testing.assert_close(actual, expected)


def test_corner_pool_keeps_a_nan():
    x = torch.tensor([1.0, float('nan'), 3.0, float('inf')]).view(1, 1, 1, 4).requires_grad_()
    out = CornerPool('right')(x)
    assert out.flatten().isnan().tolist() == [False, True, True, True]
    out.sum().backward()
    assert x.grad.flatten().tolist() == [1, 3, 0, 0]


@given(st.sampled_from(MODES), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_corner_pool_properties(mode, h, w, seed):
    x = torch.randn(1, 2, h, w, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    pool = CornerPool(mode)
    out = pool(x)
    assert (out >= x).all()
    assert torch.equal(pool(out), out)
    upstream = torch.rand(out.shape)
    (grad,) = torch.autograd.grad(out, x, upstream)
    torch.testing.assert_close(grad.sum((2, 3)), upstream.sum((2, 3)))


@pytest.mark.parametrize('channels', [4, 12, 40])
@pytest.mark.parametrize('pool_size', [1, 5])
def test_border_align_by_definition(rng, channels, pool_size):
    x = torch.randn(2, channels, 12, 16, generator=rng, dtype=torch.float64).requires_grad_()
    boxes = BOXES.double()
    results = [out_and_gradient(lambda x, f=f: f(x, boxes, pool_size), x) for f in (border_align, slow_border_align)]
    for actual, expected in zip(*results):
        torch.testing.assert_close(actual, expected)


def test_border_align_by_hand():
    x = torch.arange(20.0).view(1, 1, 4, 5).repeat(1, 4, 1, 1)
    out = border_align(x, torch.tensor([[[1.0, 0, 3, 2], [3, 2, 1, 0]]]), 2)
    assert out.tolist() == [[[[3, 11, 13, 13], [13, 13, 3, 11]]]]


def test_boxes_without_sense_give_zero_or_finite_features():
    nan, inf = float('nan'), float('inf')
    boxes = torch.tensor([[[-99.0, -99, -90, -90], [nan, 0, 5, 5], [-1e30, -1e30, 1e30, 1e30], [0, 0, inf, inf]]])
    x = torch.ones(1, 4, 6, 6, requires_grad=True)
    out = border_align(x, boxes, 5)
    assert out[:, :, 0].abs().sum() == 0
    assert out.isfinite().all()
    out.sum().backward()
    assert x.grad.isfinite().all()


@given(st.floats(-3, 3), st.floats(0, 9), st.floats(0, 9), st.floats(0, 6), st.floats(0, 6), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_border_align_of_a_constant_map(value, x1, y1, w, h, pool_size):
    boxes = torch.tensor([[[x1, y1, x1 + w, y1 + h]]])
    out = border_align(torch.full((1, 8, 16, 16), value), boxes, pool_size)
    torch.testing.assert_close(out, torch.full((1, 2, 1, 4), value))


@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
@pytest.mark.parametrize('mask', [(1, 1), (3, 5), (4, 2), (9, 11), (15, 3)])
def test_psa_mask_by_definition(rng, psa_type, mask):
    x = torch.randn(2, mask[0] * mask[1], 5, 6, generator=rng, dtype=torch.float64).requires_grad_()
    results = [
        out_and_gradient(function, x)
        for function in (lambda x: psa_mask(x, psa_type, mask), lambda x: slow_psa_mask(x, psa_type, *mask))
    ]
    for actual, expected in zip(*results):
        assert torch.equal(actual, expected)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_distributing_transposes_collecting(h, w, seed):
    x = torch.randn(2, (2 * h - 1) * (2 * w - 1), h, w, generator=torch.Generator().manual_seed(seed))
    collected = psa_mask(x, 'collect').view(2, h * w, h * w)
    distributed = psa_mask(x, 'distribute').view(2, h * w, h * w)
    assert torch.equal(collected.transpose(1, 2), distributed)
    assert (collected != 0).all()


@each_function
def test_gradcheck(rng, name):
    function, x = make(rng, name, torch.float64, size=(4, 3))
    assert torch.autograd.gradcheck(function, x)


@each_function
def test_strides_do_not_matter(rng, name):
    function, x = make(rng, name)
    x = x.detach()
    expected = function(x)
    assert torch.equal(function(x.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(function(x.transpose(2, 3).contiguous().transpose(2, 3)), expected)
    assert torch.equal(function(torch.cat([x, x], 1)[:, x.shape[1] :]), expected)


@each_function
def test_non_contiguous_gradient(rng, name):
    function, x = make(rng, name)
    out = function(x)
    upstream = torch.randn(out.shape, generator=rng)
    (expected,) = torch.autograd.grad(out, x, upstream, retain_graph=True)
    (strided,) = torch.autograd.grad(out, x, upstream.transpose(0, 1).contiguous().transpose(0, 1))
    assert torch.equal(strided, expected)


@each_function
@pytest.mark.parametrize('dtype', DTYPES)
def test_dtypes(rng, name, dtype):
    function, x = make(rng, name, dtype)
    exact = x.detach().double().requires_grad_()
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    out, grad = function(x), None
    upstream = torch.randn(out.shape, generator=rng).to(dtype)
    (grad,) = torch.autograd.grad(out, x, upstream)
    wanted = function(exact)
    assert (out.dtype, grad.dtype) == (dtype, dtype)
    torch.testing.assert_close(out.double(), wanted, rtol=tolerance, atol=tolerance)
    if name != 'border' or dtype.itemsize > 2:  # which of nearly equal samples is the largest depends on rounding
        (expected,) = torch.autograd.grad(wanted, exact, upstream.double())
        torch.testing.assert_close(grad.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('shape', [(0, 4, 3, 3), (2, 0, 3, 3), (2, 4, 0, 3), (2, 4, 3, 0)])
def test_empty(shape):
    x = torch.zeros(shape, requires_grad=True)
    for mode in MODES:
        out = CornerPool(mode)(x)
        assert out.shape == shape
        assert torch.autograd.grad(out.sum(), x)[0].shape == shape
    if 0 not in shape[2:]:
        for boxes in (torch.zeros(shape[0], 5, 4), torch.zeros(shape[0], 0, 4)):
            out = border_align(x, boxes, 2)
            assert out.shape == (shape[0], shape[1] // 4, boxes.shape[1], 4)
            assert torch.autograd.grad(out.sum(), x)[0].shape == shape
    if shape[1]:
        assert psa_mask(x, 'collect', 2).shape == (shape[0], shape[2] * shape[3], *shape[2:])


def slow_criss_cross(layer, x):
    query, key, value = layer.query_conv(x), layer.key_conv(x), layer.value_conv(x)
    out = torch.empty_like(x)
    n, _, h, w = x.shape
    for image in range(n):
        for y in range(h):
            for column in range(w):
                seen = [(row, column) for row in range(h) if row != y] + [(y, other) for other in range(w)]
                keys, values = (torch.stack([t[image, :, i, j] for i, j in seen]) for t in (key, value))
                weights = (keys @ query[image, :, y, column]).softmax(0)
                out[image, :, y, column] = layer.gamma.scale * (weights @ values) + x[image, :, y, column]
    return out


def test_criss_cross_attention_by_definition(rng):
    layer = CrissCrossAttention(16)
    x = torch.randn(2, 16, 4, 5, generator=rng)
    assert torch.equal(layer(x), x)
    torch.nn.init.constant_(layer.gamma.scale, 0.7)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), slow_criss_cross(layer, x))
    for size in ((1, 6), (6, 1), (1, 1)):
        assert layer(torch.randn(1, 16, *size, generator=rng)).isfinite().all()
    assert layer(torch.zeros(0, 16, 4, 5)).shape == (0, 16, 4, 5)


def test_criss_cross_attention_is_a_plugin_with_the_known_keys():
    layer = MODELS.build({'type': 'mmcv.CrissCrossAttention', 'in_channels': 16})
    assert sorted(layer.state_dict()) == sorted(
        [f'{name}_conv.{kind}' for name in ('query', 'key', 'value') for kind in ('weight', 'bias')] + ['gamma.scale']
    )
    assert layer.query_conv.out_channels == 2


def test_criss_cross_attention_under_autocast(rng):
    layer = CrissCrossAttention(16)
    torch.nn.init.ones_(layer.gamma.scale)
    x = torch.randn(2, 16, 4, 5, generator=rng)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(x)
    torch.testing.assert_close(out.float(), layer(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize('run, error, words', [
    (lambda: CornerPool('up'), ValueError, "mode is 'up', one of"),
    (lambda: CornerPool('top')(torch.zeros(3, 4)), ValueError, r'x has shape \(3, 4\), \(n, c, h, w\)'),
    (lambda: CornerPool('top')(torch.zeros(1, 1, 3, 4).int()), TypeError, 'x has dtype torch.int32'),
    (lambda: border_align(torch.zeros(1, 6, 3, 3), torch.zeros(1, 9, 4), 5), ValueError, r'input has .* \(b, 4c, h, w'),
    (lambda: border_align(torch.zeros(1, 4, 0, 3), torch.zeros(1, 9, 4), 5), ValueError, 'at least one pixel'),
    (lambda: border_align(torch.zeros(1, 4, 3, 3), torch.zeros(2, 9, 4), 5), ValueError, r'boxes has .* \(1, k, 4\)'),
    (lambda: border_align(torch.zeros(1, 4, 3, 3), torch.zeros(1, 9, 4).int(), 5), TypeError, 'boxes has dtype'),
    (lambda: border_align(torch.zeros(1, 4, 3, 3), torch.zeros(1, 9, 4), 0), ValueError, 'pool_size is 0'),
    (lambda: PSAMask('gather'), ValueError, "psa_type is 'gather', one of"),
    (lambda: psa_mask(torch.zeros(1, 6, 3, 3), 'collect', (2, 2)), ValueError, r'6 channels, .* \(2, 2\) is expected'),
    (lambda: psa_mask(torch.zeros(1, 6, 3, 3), 'collect'), ValueError, r'6 channels, .* \(5, 5\) is expected'),
    (lambda: psa_mask(torch.zeros(6, 3, 3), 'collect'), ValueError, r'input has shape \(6, 3, 3\)'),
    (lambda: CrissCrossAttention(4), ValueError, 'in_channels is 4, at least 8'),
    (lambda: CrissCrossAttention(8)(torch.zeros(1, 4, 3, 3)), ValueError, r'x has shape .* \(n, 8, h, w\)'),
])  # fmt: skip
def test_bad_input(run, error, words):
    with pytest.raises(error, match=words):
        run()


def test_modules_are_the_functions(rng):
    x = torch.randn(2, 12, 12, 16, generator=rng)
    assert torch.equal(BorderAlign(5)(x, BOXES), border_align(x, BOXES, 5))
    assert torch.equal(PSAMask('collect', (3, 4))(x), psa_mask(x, 'collect', (3, 4)))
    assert [repr(m) for m in (BorderAlign(5), PSAMask('collect', 3), CornerPool('top'))] == [
        'BorderAlign(pool_size=5)',
        "PSAMask(psa_type='collect', mask_size=3)",
        "CornerPool(mode='top')",
    ]


@pytest.mark.gpu
@each_function
@pytest.mark.parametrize('deterministic', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
def test_cuda(cuda, rng, name, dtype, deterministic):
    function, x = make(rng, name, dtype)
    on_device = x.detach().to(cuda).requires_grad_()
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-6, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    expected = out_and_gradient(function, x)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(deterministic)
    try:
        results = out_and_gradient(function, on_device)
    finally:
        torch.use_deterministic_algorithms(before)
    for actual, wanted in zip(results, expected):
        torch.testing.assert_close(actual.cpu(), wanted, rtol=tolerance, atol=tolerance)
