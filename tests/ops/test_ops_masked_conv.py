import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import MaskedConv2d, masked_conv2d


@pytest.fixture
def problem(rng):
    x = torch.randn(2, 6, 9, 11, generator=rng)
    return x, torch.randn(8, 6, 3, 3, generator=rng), torch.randn(8, generator=rng)


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(1, 2),
    st.sampled_from([1, 2, 3]), st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_dense_convolution_where_the_mask_is_set(height, width, padding, stride, dilation, groups, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 6, 8, 9, generator=generator)
    weight = torch.randn(12, 6 // groups, height, width, generator=generator)
    arguments = {'padding': (padding, 1), 'stride': (stride, 1), 'dilation': dilation, 'groups': groups}
    dense = F.conv2d(x, weight, None, **arguments)
    mask = torch.rand(2, *dense.shape[2:], generator=generator) < 0.4
    torch.testing.assert_close(masked_conv2d(x, mask, weight, **arguments), dense * mask[:, None], rtol=1e-4, atol=1e-4)


def test_the_module(problem):
    conv = MaskedConv2d(6, 8, 3, padding=1)
    x, mask = problem[0][:1], torch.zeros(1, 9, 11)
    mask[0, 2, 3], mask[0, 8, 10], mask[0, 5, 5] = 1, 0.3, -1
    dense = F.conv2d(x, conv.weight, conv.bias, padding=1)
    assert list(conv.state_dict()) == ['weight', 'bias']
    torch.testing.assert_close(conv(x), dense)
    torch.testing.assert_close(conv(x, mask), dense * (mask > 0)[:, None], rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_masked_dense_convolution(problem):
    x, weight, bias = (t.double().requires_grad_() for t in problem)
    mask = torch.arange(2 * 9 * 11).view(2, 9, 11) % 3 == 0
    sparse = torch.autograd.grad(masked_conv2d(x, mask, weight, bias, 1).square().sum(), (x, weight, bias))
    dense = F.conv2d(x, weight, bias, padding=1) * mask[:, None]
    torch.testing.assert_close(sparse, torch.autograd.grad(dense.square().sum(), (x, weight, bias)))


def test_nothing_set_and_nothing_there(problem):
    x, weight, bias = problem
    assert masked_conv2d(x, torch.zeros(2, 9, 11), weight, bias, 1).abs().sum() == 0
    assert masked_conv2d(x[:0], torch.zeros(0, 9, 11), weight, bias, 1).shape == (0, 8, 9, 11)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(problem, dtype):
    x, weight, bias = (t.to(dtype) for t in problem)
    mask = torch.ones(2, 9, 11)
    out = masked_conv2d(x, mask, weight, bias, 1)
    tolerance = {torch.float16: 1e-2, torch.bfloat16: 1e-1, torch.float64: 1e-9}[dtype]
    assert out.dtype == dtype
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


def test_layouts_and_autocast(problem):
    x, weight, bias = problem
    mask = torch.arange(2 * 9 * 11).view(2, 9, 11) % 2 == 0
    expected = masked_conv2d(x, mask, weight, bias, 1)
    assert torch.equal(masked_conv2d(x.contiguous(memory_format=torch.channels_last), mask, weight, bias, 1), expected)
    with torch.autocast('cpu', torch.bfloat16):
        out = masked_conv2d(x.bfloat16(), mask, weight, bias, 1)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize('change, error, words', [
    ({'features': torch.zeros(6, 9, 11)}, ValueError, r'features has shape \(6, 9, 11\), \(n, c, h, w\) is expected'),
    ({'features': torch.zeros(1, 5, 9, 11)}, ValueError, 'features has 5 channels and weight has shape'),
    ({'mask': torch.zeros(1, 9, 11)}, ValueError, r'mask has shape \(1, 9, 11\), \(1, 7, 9\) is expected'),
    ({'mask': None}, TypeError, 'mask is a NoneType, a tensor is expected'),
    ({'mask': torch.zeros(1, 7, 9, device='meta')}, ValueError, 'mask is on meta, the other tensors are on cpu'),
])  # fmt: skip
def test_bad_input(change, error, words):
    good = {'features': torch.zeros(1, 6, 9, 11), 'mask': torch.zeros(1, 7, 9), 'weight': torch.zeros(2, 6, 3, 3)}
    with pytest.raises(error, match=words):
        masked_conv2d(**{**good, **change})


def test_padding_that_a_mask_cannot_have():
    with pytest.raises(ValueError, match="padding is 'same' with padding_mode 'zeros', numbers and zeros are expected"):
        MaskedConv2d(6, 8, 3, padding='same')(torch.zeros(1, 6, 9, 11), torch.ones(1, 9, 11))


@pytest.mark.gpu
def test_cuda(cuda, problem):
    mask = torch.arange(2 * 9 * 11).view(2, 9, 11) % 3 == 0
    expected = masked_conv2d(problem[0], mask, *problem[1:], 1)
    x, weight, bias = (t.to(cuda) for t in problem)
    torch.testing.assert_close(masked_conv2d(x, mask.to(cuda), weight, bias, 1).cpu(), expected, rtol=1e-3, atol=1e-3)
