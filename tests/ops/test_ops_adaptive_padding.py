"""Conv2dAdaptivePadding."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import Conv2dAdaptivePadding


def padded_by_definition(x, layer):
    """Zeros around `x` such that each axis has ceil(size / stride) outputs, the odd one after it."""
    pads = []
    for axis in (1, 0):
        size, stride, reach = (
            x.shape[2 + axis],
            layer.stride[axis],
            layer.dilation[axis] * (layer.kernel_size[axis] - 1),
        )
        outputs = (size + stride - 1) // stride
        total = max((outputs - 1) * stride + reach + 1 - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


pair = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(kernel=pair, stride=pair, dilation=pair, size=st.tuples(st.integers(1, 12), st.integers(1, 12)))
@settings(max_examples=40, deadline=None)
def test_by_definition(kernel, stride, dilation, size):
    torch.manual_seed(0)
    layer = Conv2dAdaptivePadding(4, 6, kernel, stride, 7, dilation, groups=2).double()
    x = torch.randn(2, 4, *size, dtype=torch.double)
    out = layer(x)
    assert out.shape == (2, 6, -(-size[0] // stride[0]), -(-size[1] // stride[1]))
    torch.testing.assert_close(out, padded_by_definition(x, layer))


def test_the_odd_zero_comes_after():
    layer = Conv2dAdaptivePadding(1, 1, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    assert layer(torch.ones(1, 1, 2, 2)).tolist() == [[[[4, 2], [2, 1]]]]


def test_parameters():
    layer = Conv2dAdaptivePadding(4, 6, 3, 2, 1)
    assert {key: tuple(value.shape) for key, value in layer.state_dict().items()} == {
        'weight': (6, 4, 3, 3),
        'bias': (6,),
    }
    assert layer.padding == (0, 0)
    assert Conv2dAdaptivePadding(4, 6, 3, bias=False).bias is None


@pytest.fixture
def example():
    torch.manual_seed(0)
    layer = Conv2dAdaptivePadding(3, 4, 3, 2).double()
    return layer, torch.randn(2, 3, 6, 5, dtype=torch.double, requires_grad=True)


def test_gradients(example):
    layer, x = example
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


def test_compiles_and_exports(example):
    layer, x = example
    assert torch.equal(torch.compile(layer, fullgraph=True, backend='aot_eager')(x), layer(x))
    torch._dynamo.reset()
    assert torch.equal(torch.export.export(layer, (x.detach(),)).module()(x), layer(x))


def test_layouts_and_half_precision(example):
    layer, x = example
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), layer(x))
    for dtype in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(layer.to(dtype)(x.to(dtype)).double(), layer.double()(x), rtol=0.05, atol=0.05)


def test_an_empty_batch(example):
    layer, x = example
    empty = x[:0].detach().requires_grad_()
    out = layer(empty)
    assert out.shape == (0, 4, 3, 3)
    out.sum().backward()
    assert empty.grad.shape == empty.shape
    assert not layer.weight.grad.any()


@pytest.mark.parametrize('wrong, error, words', [
    ([1.0], TypeError, 'x is a list, a tensor is expected'),
    (torch.zeros(1, 3, 4, 5).long(), TypeError, 'x has dtype torch.int64'),
    (torch.zeros(3, 4, 5), ValueError, r'x has shape \(3, 4, 5\), \(n, 3, h, w\)'),
    (torch.zeros(1, 4, 4, 5), ValueError, r'x has shape \(1, 4, 4, 5\), \(n, 3, h, w\)'),
])  # fmt: skip
def test_bad_input(wrong, error, words):
    with pytest.raises(error, match=f'Conv2dAdaptivePadding: {words}'):
        Conv2dAdaptivePadding(3, 4, 3)(wrong)


@pytest.mark.gpu
def test_cuda(cuda, example):
    layer, x = example
    expected = layer(x)
    torch.testing.assert_close(layer.to(cuda)(x.to(cuda)).cpu(), expected)
