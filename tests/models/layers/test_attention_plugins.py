"""Plugins that a config inserts into a backbone: the blocks of `mmdetlike_ops` with layers that configs name."""

import pytest
import torch
from torch import nn

import mmdetlike_ops
from mmdetlike.errors import ConfigError
from mmdetlike.models import layers
from mmdetlike.models.layers import ConvWS2d, LayerNorm2d, build_plugin_layer
from mmdetlike.registry import MODELS


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize('cfg, name', [
    (dict(type='ContextBlock', ratio=0.25), 'context_block'),
    (dict(type='GeneralizedAttention', num_heads=8), 'gen_attention_block'),
    (dict(type='mmdet.NonLocal2d'), 'nonlocal_block'),
])  # fmt: skip
def test_plugins_start_as_the_identity_under_their_name(cfg, name):
    built, layer = build_plugin_layer(cfg, postfix='_1', in_channels=16)
    assert built == f'{name}_1'
    x = torch.randn(2, 16, 5, 6)
    torch.testing.assert_close(layer(x), x, rtol=0, atol=0)


@pytest.mark.parametrize('name', ['ContextBlock', 'GeneralizedAttention', 'NonLocal2d', 'Conv2dAdaptivePadding'])
def test_there_is_one_class_of_each(name):
    assert getattr(layers, name) is MODELS.get(f'mmcv.{name}') is getattr(mmdetlike_ops, name)


@pytest.fixture
def registered_norm():
    class Halving(nn.Module):
        def __init__(self, channels, eps):
            super().__init__()
            self.channels, self.eps = channels, eps

        def forward(self, x):
            return x / 2

    MODELS.register_module(module=Halving)
    yield Halving
    MODELS.module_dict.pop('Halving')


def test_a_registered_norm_layer_in_a_plugin(registered_norm):
    cfg = dict(type='NonLocal2d', norm_cfg=dict(type='Halving'))
    norm = build_plugin_layer(cfg, in_channels=16)[1].conv_out.norm
    assert (type(norm), norm.channels, norm.eps) == (registered_norm, 16, 1e-5)
    assert cfg['norm_cfg'] == dict(type='Halving')


def test_a_registered_norm_layer_in_a_neck(registered_norm):
    neck = MODELS.build(dict(
        type='BFP', in_channels=16, num_levels=2, refine_level=1, refine_type='non_local', norm_cfg=dict(type='Halving')
    ))  # fmt: skip
    assert type(neck.refine.conv_out.norm_layer) is registered_norm


def test_layers_of_the_toolbox_in_a_plugin():
    settings = dict(conv_cfg=dict(type='ConvWS'), norm_cfg=dict(type='LN2d', requires_grad=False))
    layer = build_plugin_layer(dict(type='NonLocal2d', **settings), in_channels=16)[1]
    assert isinstance(layer.g.conv, ConvWS2d)
    assert isinstance(layer.conv_out.ln, LayerNorm2d)
    assert not layer.conv_out.ln.weight.requires_grad


@pytest.mark.parametrize('cfg, words', [
    (dict(type='NonLocal2d', mode='dot'), "NonLocal2d: mode is 'dot', one of"),
    (dict(type='NonLocal2d', norm_cfg=dict(type='BNN')), "type='BNN' is not a known norm layer. Did you mean .*'BN'"),
    (dict(type='NonLocal2d', norm_cfg=dict(type='GN')), 'norm_cfg has not the arguments of GroupNorm: .*num_groups'),
    (dict(type='NonLocal2d', conv_cfg=dict(type='Conv9d')), "type='Conv9d' is not a known conv layer"),
    (dict(type='NonLocal2d', ratio=2), "plugin layer 'NonLocal2d' takes no argument 'ratio'"),
    (dict(type='ContextBlock', ratio=0.01), 'ratio is 0.01, at least 1 / 16'),
])  # fmt: skip
def test_what_a_plugin_refuses_is_an_error_of_the_config(cfg, words):
    with pytest.raises(ConfigError, match=words):
        build_plugin_layer(cfg, in_channels=16)
