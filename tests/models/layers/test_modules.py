"""ConvModule and the blocks made of it, fusion, and weight initialization."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModule, Sequential
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import (
    ChannelAttention,
    ConvModule,
    DepthwiseSeparableConvModule,
    DropPath,
    DyReLU,
    FrozenBatchNorm2d,
    InvertedResidual,
    Scale,
    SELayer,
    bias_init_with_prob,
    fuse_conv_bn,
)
from mmdetlike.registry import MODELS

BN = {'type': 'BN'}


def _with_random_statistics(module):
    for part in module.modules():
        if hasattr(part, 'running_var'):
            for tensor in (part.running_mean, part.running_var, part.weight.data, part.bias.data):
                tensor.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize(
    'norm_cfg, keys',
    [
        (None, ['conv.weight', 'conv.bias']),
        ({'type': 'GN', 'num_groups': 2}, ['conv.weight', 'gn.weight', 'gn.bias']),
        ({'type': 'FrozenBN'}, ['conv.weight', 'bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var']),
    ],
)
def test_conv_module_keys(norm_cfg, keys):
    assert list(ConvModule(3, 4, 3, norm_cfg=norm_cfg).state_dict()) == keys


def test_conv_module_is_conv_norm_relu():
    module = _with_random_statistics(ConvModule(3, 4, 3, padding=1, norm_cfg=BN))
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(module(x), module.bn(module.conv(x)).relu())
    torch.testing.assert_close(module(x, activate=False), module.bn(module.conv(x)))
    torch.testing.assert_close(module(x, activate=False, norm=False), module.conv(x))
    assert module.norm is module.bn
    assert (module.in_channels, module.out_channels, module.padding) == (3, 4, 1)


def test_conv_module_order_norm_first():
    module = _with_random_statistics(ConvModule(3, 4, 1, norm_cfg=BN, order=('norm', 'act', 'conv')))
    assert module.bn.num_features == 3
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(module(x), module.conv(module.bn(x).relu()))


@pytest.mark.parametrize('mode', ['zeros', 'circular', 'reflect', 'replicate'])
def test_conv_module_padding_modes(mode):
    module = ConvModule(2, 3, 3, padding=1, padding_mode=mode, act_cfg=None)
    reference = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)
    reference.load_state_dict(module.conv.state_dict())
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(module(x), reference(x))


def test_conv_module_spectral_norm():
    module = ConvModule(4, 8, 3, with_spectral_norm=True, act_cfg=None).train()
    for _ in range(30):
        module(torch.randn(1, 4, 5, 5))
    assert torch.linalg.matrix_norm(module.conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize('act_cfg', [None, {'type': 'ReLU'}, {'type': 'Swish'}, {'type': 'Tanh'}, {'type': 'PReLU'}])
def test_conv_module_inplace_only_where_possible(act_cfg):
    module = ConvModule(2, 3, 1, act_cfg=act_cfg)
    assert getattr(module, 'activate', None) is None or getattr(module.activate, 'inplace', True)
    module(torch.rand(1, 2, 3, 3)).sum().backward()


def test_conv_module_errors():
    with pytest.raises(ConfigError, match='permutation'):
        ConvModule(3, 4, 1, order=('conv', 'norm', 'relu'))
    with pytest.raises(ConfigError, match=r"not a known padding layer. Did you mean 'reflect'"):
        ConvModule(3, 4, 1, padding_mode='reflected')
    with pytest.warns(UserWarning, match='bias of a conv before BatchNorm2d'):
        ConvModule(3, 4, 1, bias=True, norm_cfg=BN)


def test_conv_module_initialization():
    torch.manual_seed(0)
    leaky = ConvModule(64, 64, 3, act_cfg={'type': 'LeakyReLU', 'negative_slope': 1.0})
    relu = ConvModule(64, 64, 3)
    fan_out = 64 * 9
    assert relu.conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    assert leaky.conv.weight.std().item() == pytest.approx((1 / fan_out) ** 0.5, rel=0.02)
    assert relu.conv.bias.abs().max() == 0


def test_conv_module_is_built_through_the_alias_scopes():
    cfg = {'in_channels': 3, 'out_channels': 4, 'kernel_size': 1, 'norm_cfg': BN}
    assert isinstance(MODELS.build({'type': 'mmcv.ConvModule', **cfg}), ConvModule)
    assert isinstance(MODELS.build({'type': 'ConvModule', **cfg}), ConvModule)


def test_depthwise_separable():
    module = DepthwiseSeparableConvModule(4, 6, 3, padding=1, norm_cfg=BN, dw_act_cfg=None)
    assert module.depthwise_conv.conv.groups == 4
    assert not module.depthwise_conv.with_activation
    assert module.pointwise_conv.with_activation
    assert module(torch.rand(2, 4, 5, 5)).shape == (2, 6, 5, 5)
    with pytest.raises(ConfigError, match='groups'):
        MODELS.build(dict(type='DepthwiseSeparableConvModule', in_channels=4, out_channels=6, kernel_size=3, groups=2))


def test_scale():
    module = Scale(2.0)
    assert module(torch.tensor([1.0, 3.0])).tolist() == [2.0, 6.0]
    assert module.state_dict()['scale'].shape == ()


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.9), st.integers(0, 2**31))
def test_drop_path_keeps_or_drops_samples(prob, seed):
    torch.manual_seed(seed)
    out = DropPath(prob)(torch.ones(64, 2, 3))
    per_sample = out.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    kept = per_sample[:, 0] > 0
    torch.testing.assert_close(per_sample[kept, 0], torch.full((int(kept.sum()),), 1 / (1 - prob)))


def test_drop_path_mean_and_eval():
    torch.manual_seed(0)
    module = DropPath(0.3)
    assert module(torch.ones(20000, 1)).mean().item() == pytest.approx(1, abs=0.02)
    x = torch.rand(4, 2)
    assert module.eval()(x) is x


def test_se_layer():
    module = SELayer(4, ratio=2, act_cfg=({'type': 'ReLU'}, {'type': 'HSigmoid'}))
    assert list(module.state_dict()) == [f'conv{i}.conv.{p}' for i in (1, 2) for p in ('weight', 'bias')]
    nn.init.zeros_(module.conv2.conv.weight)
    nn.init.constant_(module.conv2.conv.bias, 1.5)
    x = torch.rand(2, 4, 3, 3)
    torch.testing.assert_close(module(x), x * 0.75)
    with pytest.raises(ConfigError, match='pair'):
        SELayer(4, act_cfg=({'type': 'ReLU'},))


def test_dyrelu_starts_as_relu():
    module = DyReLU(4)
    nn.init.zeros_(module.conv2.conv.weight)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(module(x), x.relu())


def test_channel_attention_of_constant_weight():
    module = ChannelAttention(4)
    nn.init.zeros_(module.fc.weight)
    nn.init.constant_(module.fc.bias, 1.5)
    x = torch.rand(2, 4, 3, 3)
    torch.testing.assert_close(module(x), x * 0.75)
    assert list(module.state_dict()) == ['fc.weight', 'fc.bias']


def test_inverted_residual():
    module = InvertedResidual(4, 4, 8, se_cfg={'channels': 8, 'ratio': 2}, drop_path_rate=0.1).eval()
    names = [name for name, _ in module.named_children()]
    assert set(names) == {'drop_path', 'expand_conv', 'depthwise_conv', 'se', 'linear_conv'}
    nn.init.zeros_(module.linear_conv.conv.weight)
    x = torch.rand(2, 4, 6, 6)
    torch.testing.assert_close(module(x), x)
    assert InvertedResidual(4, 6, 8, stride=2)(x).shape == (2, 6, 3, 3)
    with pytest.raises(ConfigError, match='stride must be 1 or 2, but got 3'):
        InvertedResidual(4, 4, 8, stride=3)
    with pytest.raises(ConfigError, match='mid_channels == in_channels, but got 8 and 4'):
        InvertedResidual(4, 4, 8, with_expand_conv=False)


def test_inverted_residual_checkpointing_gives_the_same_gradients():
    plain = InvertedResidual(4, 4, 8)
    saving = InvertedResidual(4, 4, 8, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(2, 4, 6, 6)
    gradients = []
    for module in (plain, saving):
        leaf = x.clone().requires_grad_()
        module(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    'module',
    [
        ConvModule(3, 4, 3, norm_cfg=BN),
        ConvModule(3, 4, 3, norm_cfg={'type': 'FrozenBN'}),
        ConvModule(3, 4, 3, norm_cfg={'type': 'SyncBN'}),
        nn.Sequential(nn.Conv2d(3, 4, 1, groups=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)),
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False)), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        ConvModule(3, 3, 1, norm_cfg=BN, order=('norm', 'act', 'conv')),
        ConvModule(3, 3, 1, norm_cfg=BN, order=('conv', 'act', 'norm')),
    ],
)
def test_fusion_keeps_the_output(module):
    module = _with_random_statistics(copy.deepcopy(module))
    x = torch.randn(2, 3, 5, 5)
    expected = module(x)
    torch.testing.assert_close(fuse_conv_bn(module)(x), expected)


def test_fusion_removes_the_norm_of_conv_modules_only_behind_the_conv():
    fused = fuse_conv_bn(nn.Sequential(ConvModule(3, 4, 1, norm_cfg=BN)).eval())
    assert isinstance(fused[0].bn, nn.Identity)
    assert fused[0].conv.bias is not None
    kept = fuse_conv_bn(ConvModule(3, 3, 1, norm_cfg=BN, order=('norm', 'conv', 'act')).eval())
    assert isinstance(kept.bn, nn.BatchNorm2d)


def test_fusion_of_a_conv_shared_by_two_norms():
    """As in heads that share convolutions, but not norm layers, between levels."""
    levels = nn.ModuleList(ConvModule(3, 4, 1, norm_cfg=BN) for _ in range(2))
    levels[1].conv = levels[0].conv
    _with_random_statistics(levels)
    x = torch.randn(2, 3, 5, 5)
    expected = [level(x) for level in levels]
    fuse_conv_bn(levels)
    torch.testing.assert_close([level(x) for level in levels], expected)


@pytest.mark.parametrize(
    'init_cfg, check',
    [
        ({'type': 'Constant', 'val': 0.5, 'bias': 2.0}, lambda w, b: (w == 0.5).all() and (b == 2).all()),
        ({'type': 'Xavier', 'distribution': 'uniform'}, lambda w, b: w.abs().max() <= (6 / (2 * 32 * 9)) ** 0.5 + 1e-6),
        ({'type': 'Normal', 'std': 0.01}, lambda w, b: abs(w.std() - 0.01) < 1e-3),
        ({'type': 'TruncNormal', 'std': 1.0, 'a': -0.5, 'b': 0.5}, lambda w, b: 0.4 < w.abs().max() <= 0.5),
        ({'type': 'Uniform', 'a': 1.0, 'b': 2.0}, lambda w, b: w.min() >= 1 and w.max() <= 2),
        ({'type': 'Kaiming'}, lambda w, b: abs(w.std() - (2 / (32 * 9)) ** 0.5) < 5e-3),
        ({'type': 'Caffe2Xavier'}, lambda w, b: w.abs().max() <= (3 / (32 * 9)) ** 0.5 + 1e-6),
        ({'type': 'Normal', 'std': 0.01, 'bias_prob': 0.01}, lambda w, b: ((b + 4.59512) < 1e-4).all()),
    ],
)
@pytest.mark.parametrize('scope', ['mmdetlike', 'mmdet'])
def test_weight_initialisers(init_cfg, check, scope):
    class Net(BaseModule):
        def __init__(self):
            super().__init__({**init_cfg, 'layer': 'Conv2d', '_scope_': scope})
            self.conv = nn.Conv2d(32, 32, 3)

    torch.manual_seed(0)
    net = Net()
    net.init_weights()
    assert check(net.conv.weight.detach(), net.conv.bias.detach())


def test_pretrained_and_override(tmp_path):
    source = Sequential(nn.Conv2d(1, 1, 1))
    nn.init.constant_(source[0].weight, 7.0)
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'net.pth')
    net = Sequential(nn.Conv2d(1, 1, 1), init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'net.pth')})
    net.init_weights()
    assert net[0].weight.item() == 7.0


def test_bias_init_with_prob():
    assert torch.tensor(bias_init_with_prob(0.01)).sigmoid().item() == pytest.approx(0.01)


def test_init_weights_reaches_conv_modules_of_a_base_module():
    net = Sequential(ConvModule(64, 64, 3, norm_cfg=BN), init_cfg={'type': 'Constant', 'val': 3.0, 'layer': 'Conv2d'})
    nn.init.constant_(net[0].bn.weight, 9.0)
    net.init_weights()
    assert (net[0].bn.weight == 1).all()
    assert not (net[0].conv.weight == 3).any()


def test_frozen_norm_in_conv_module_has_no_parameters():
    module = ConvModule(3, 4, 1, norm_cfg={'type': 'FrozenBN'})
    assert isinstance(module.norm, FrozenBatchNorm2d)
    assert [name for name, _ in module.named_parameters()] == ['conv.weight']
