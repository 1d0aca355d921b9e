"""Layers fused for prediction on a CPU compute what those they replace compute."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmdetlike.models.backbones.resnet import Bottleneck, ResNet
from mmdetlike.models.fuse_for_cpu import FusedConv2d, FusedLinear, FusedResidualBlock, fuse_for_cpu
from mmdetlike.models.layers import ConvModule, fuse_conv_bn

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='torch was built without oneDNN')
CLOSE = dict(rtol=1e-4, atol=1e-5)
PLAIN = {'none': nn.Identity(), 'relu': nn.ReLU(), 'swish': nn.SiLU()}


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from([1, 2, 3, (1, 3)]),
    stride=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1]),
    groups=st.sampled_from([1, 4]),
    bias=st.booleans(),
    batch=st.sampled_from([0, 1, 3]),
    activation=st.sampled_from(list(PLAIN)),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_convolution_sum_and_activation(kernel, stride, padding, groups, bias, batch, activation, layout):
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, kernel, stride, padding, groups=groups, bias=bias)
    fused = FusedConv2d(conv, activation)
    x = torch.randn(batch, 8, 6, 7).to(memory_format=layout)
    expected = conv(x)
    other = torch.randn_like(expected)
    torch.testing.assert_close(fused(x), PLAIN[activation](expected), **CLOSE)
    torch.testing.assert_close(fused(x, other), PLAIN[activation](expected + other), **CLOSE)
    torch.testing.assert_close(fused(x, other.clone(), into_other=True), PLAIN[activation](expected + other), **CLOSE)


@pytest.mark.parametrize('shape', [(8,), (0, 8), (5, 8), (2, 3, 8)])
@pytest.mark.parametrize('bias', [True, False])
def test_linear_layer(shape, bias):
    linear = nn.Linear(8, 5, bias=bias)
    x = torch.randn(shape)
    torch.testing.assert_close(FusedLinear(linear)(x), linear(x), **CLOSE)


def test_gradients_of_the_input_are_not_lost():
    conv = nn.Conv2d(3, 4, 3)
    with torch.enable_grad():
        x = torch.randn(1, 3, 5, 5, requires_grad=True)
        (actual,) = torch.autograd.grad(FusedConv2d(conv, 'relu')(x).sum(), x)
        (expected,) = torch.autograd.grad(conv(x).relu().sum(), x)
    torch.testing.assert_close(actual, expected)


def test_parameters_keep_their_names():
    model = ResNet(depth=18, base_channels=8).eval()
    folded = fuse_conv_bn(model)
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    after = fuse_for_cpu(folded).state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize('depth, num_blocks', [(18, 8), (50, 16)])
@pytest.mark.parametrize('settings', [{}, dict(deep_stem=True, avg_down=True), dict(style='caffe')])
def test_resnet(depth, num_blocks, settings):
    torch.manual_seed(0)
    model = ResNet(depth=depth, base_channels=8, **settings).eval()
    images = torch.randn(1, 3, 64, 96)
    expected = model(images)
    fused = fuse_for_cpu(fuse_conv_bn(copy.deepcopy(model)))
    assert sum(isinstance(module, FusedResidualBlock) for module in fused.modules()) == num_blocks
    assert not any(isinstance(module, nn.ReLU) for module in fused.modules())
    torch.testing.assert_close(fused(images), expected, **CLOSE)


def test_input_of_a_block_is_not_written_to():
    block = FusedResidualBlock(fuse_conv_bn(Bottleneck(16, 4).eval()))
    x = torch.randn(1, 16, 5, 5)
    kept = x.clone()
    block(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize('order', [('conv', 'norm', 'act'), ('norm', 'conv', 'act'), ('act', 'norm', 'conv')])
@pytest.mark.parametrize('norm', [None, 'BN', 'GN'])
@pytest.mark.parametrize('act', ['ReLU', 'SiLU', 'Swish', 'LeakyReLU', None])
def test_conv_module(order, norm, act):
    torch.manual_seed(0)
    norm_cfg = norm and dict(type=norm, **({'num_groups': 2} if norm == 'GN' else {}))
    module = ConvModule(4, 4, 3, norm_cfg=norm_cfg, act_cfg=act and dict(type=act), order=order, inplace=False).eval()
    x = torch.randn(2, 4, 6, 6)
    expected = module(x)
    fused = fuse_for_cpu(fuse_conv_bn(module))
    assert isinstance(fused.conv, FusedConv2d)
    torch.testing.assert_close(fused(x), expected, **CLOSE)


def test_layers_with_hooks_and_subclasses_stay():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    watched = nn.Conv2d(3, 3, 1)
    seen = []
    watched.register_forward_hook(lambda *call: seen.append(call))
    odd = [Doubled(3, 3, 1), nn.utils.spectral_norm(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 3, padding='same')]
    model = nn.Sequential(watched, nn.ReLU(), *odd, nn.Conv2d(3, 3, 1).double())
    kept = list(model)
    assert list(fuse_for_cpu(model)) == kept
    model[:-1](torch.randn(1, 3, 4, 4))
    assert len(seen) == 1
