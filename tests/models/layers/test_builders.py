"""Builders of conv, norm, activation, padding, upsample, dropout and plugin layers."""

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import (
    FrozenBatchNorm2d,
    LayerNorm2d,
    PixelShufflePack,
    build_activation_layer,
    build_conv_layer,
    build_dropout,
    build_norm_layer,
    build_padding_layer,
    build_plugin_layer,
    build_upsample_layer,
    is_norm,
    norm_abbreviation,
)
from mmdetlike.registry import MODELS
from mmdetlike_ops import ConvAWS2d, DeformConv2dPack, ModulatedDeformConv2dPack, SAConv2d


@pytest.fixture
def registered():
    """Register classes for one test."""
    names = []

    def register(cls, name=None):
        names.append(name or cls.__name__)
        MODELS.register_module(name=names[-1], module=cls)
        return cls

    yield register
    for name in names:
        del MODELS.module_dict[name]


@pytest.mark.parametrize(
    'cfg, cls',
    [
        (None, nn.Conv2d),
        ({'type': 'Conv'}, nn.Conv2d),
        ({'type': 'Conv1d'}, nn.Conv1d),
        ({'type': 'Conv3d'}, nn.Conv3d),
        ({'type': 'mmcv.Conv2d'}, nn.Conv2d),
        ({'type': 'deconv'}, nn.ConvTranspose2d),
        ({'type': nn.Conv2d}, nn.Conv2d),
        ({'type': 'ConvAWS'}, ConvAWS2d),
        ({'type': 'DCN', 'deform_groups': 2}, DeformConv2dPack),
        ({'type': 'mmcv.DCNv2', 'bias': False}, ModulatedDeformConv2dPack),
        ({'type': 'SAC', 'use_deform': True}, SAConv2d),
    ],
)
def test_conv_types(cfg, cls):
    layer = build_conv_layer(cfg, 4, 6, 3, stride=2)
    assert type(layer) is cls
    assert (layer.in_channels, layer.out_channels, layer.stride[0]) == (4, 6, 2)


def test_a_mistyped_argument_of_a_deformable_convolution_is_named():
    with pytest.raises(ConfigError, match=r"'deform_group'.*deform_groups"):
        build_conv_layer({'type': 'DCNv2', 'deform_group': 2}, 4, 6, 3)


def test_the_old_name_of_deform_groups_is_taken():
    cfg = {'type': 'DCNv2', 'deformable_groups': 2}
    assert build_conv_layer(cfg, 4, 6, 3).deform_groups == 2 and 'deformable_groups' in cfg


def test_conv_of_the_registry_is_found_by_name(registered):
    class MyDeformConv(nn.Conv2d):
        pass

    registered(MyDeformConv, 'MyDCN')
    layer = build_conv_layer({'type': 'MyDCN', 'dilation': 2}, 4, 6, 3)
    assert type(layer) is MyDeformConv
    assert layer.dilation == (2, 2)


@pytest.mark.parametrize('conv', ['Conv2d', 'deconv'])
def test_empty_batch(conv):
    layer = build_conv_layer({'type': conv}, 4, 6, 3, padding=1)
    assert layer(torch.zeros(0, 4, 8, 8)).shape == (0, 6, 8, 8)


@pytest.mark.parametrize(
    'name, expected, cls',
    [
        ('BN', 'bn', nn.BatchNorm2d),
        ('BN1d', 'bn', nn.BatchNorm1d),
        ('BN3d', 'bn', nn.BatchNorm3d),
        ('SyncBN', 'bn', nn.SyncBatchNorm),
        ('MMSyncBN', 'bn', nn.SyncBatchNorm),
        ('FrozenBN', 'bn', FrozenBatchNorm2d),
        ('LN', 'ln', nn.LayerNorm),
        ('LN2d', 'ln', LayerNorm2d),
        ('IN', 'in', nn.InstanceNorm2d),
        ('IN1d', 'in', nn.InstanceNorm1d),
    ],
)
def test_norm_types(name, expected, cls):
    key, layer = build_norm_layer({'type': name}, 8, postfix=2)
    assert key == f'{expected}2'
    assert isinstance(layer, cls)
    assert layer.eps == 1e-5


def test_group_norm_arguments():
    name, layer = build_norm_layer({'type': 'GN', 'num_groups': 4, 'eps': 1e-3, 'requires_grad': False}, 8)
    assert (name, layer.num_groups, layer.num_channels, layer.eps) == ('gn', 4, 8, 1e-3)
    assert not any(p.requires_grad for p in layer.parameters())


def test_norm_config_is_not_changed():
    cfg = {'type': 'BN', 'requires_grad': True}
    build_norm_layer(cfg, 8)
    assert cfg == {'type': 'BN', 'requires_grad': True}


def test_abbreviation_of_foreign_norms():
    class Tagged(nn.Module):
        _abbr_ = 'tag'

    class MyGroupThing(nn.Module):
        pass

    class Other(nn.Module):
        pass

    assert [norm_abbreviation(cls) for cls in (Tagged, MyGroupThing, Other)] == ['tag', 'gn', 'norm_layer']


def test_is_norm():
    assert is_norm(nn.GroupNorm(1, 2))
    assert not is_norm(nn.Conv2d(1, 1, 1))
    assert not is_norm(nn.BatchNorm2d(2), exclude=nn.BatchNorm2d)


@pytest.mark.parametrize(
    'name, x, y',
    [
        ('ReLU', -2.0, 0.0),
        ('LeakyReLU', -2.0, -0.02),
        ('ReLU6', 9.0, 6.0),
        ('PReLU', -2.0, -0.5),
        ('ELU', -1.0, -0.63212056),
        ('Sigmoid', 0.0, 0.5),
        ('Tanh', 1.0, 0.76159416),
        ('GELU', 1.0, 0.84134475),
        ('SiLU', 1.0, 0.73105858),
        ('Swish', 1.0, 0.73105858),
        ('Mish', 1.0, 0.86509839),
        ('HSwish', 1.0, 4 / 6),
        ('HSigmoid', 1.0, 4 / 6),
        ('Clamp', 7.0, 1.0),
        ('Clip', -7.0, -1.0),
        ('mmcv.ReLU', 3.0, 3.0),
    ],
)
def test_activation_values(name, x, y):
    assert build_activation_layer({'type': name})(torch.tensor([x])).item() == pytest.approx(y, rel=1e-5)


def test_hsigmoid_of_other_constants():
    layer = build_activation_layer({'type': 'HSigmoid', 'bias': 1.0, 'divisor': 2.0})
    assert layer(torch.tensor([-3.0, 0.0, 0.5, 9.0])).tolist() == [0.0, 0.5, 0.75, 1.0]


def test_softmax_takes_its_argument():
    layer = build_activation_layer({'type': 'Softmax', 'dim': 0})
    assert layer(torch.zeros(4)).tolist() == [0.25] * 4


@pytest.mark.parametrize('name, edge', [('zero', 0.0), ('reflect', 2.0), ('replicate', 1.0)])
def test_padding(name, edge):
    row = torch.tensor([[[[1.0, 2.0, 3.0]] * 3]])
    assert build_padding_layer({'type': name}, 1)(row)[0, 0, 1, 0] == edge


def test_upsample_nearest_and_bilinear():
    x = torch.tensor([[[[0.0, 4.0]]]])
    nearest = build_upsample_layer({'type': 'nearest', 'scale_factor': 2})(x)
    bilinear = build_upsample_layer({'type': 'bilinear', 'scale_factor': 2, 'align_corners': False})(x)
    assert nearest[0, 0, 0].tolist() == [0, 0, 4, 4]
    assert bilinear[0, 0, 0].tolist() == [0, 1, 3, 4]


def test_upsample_deconv_and_pixel_shuffle():
    deconv = build_upsample_layer(
        {'type': 'deconv', 'in_channels': 4, 'out_channels': 2, 'kernel_size': 2, 'stride': 2}
    )
    shuffle = build_upsample_layer(
        {'type': 'pixel_shuffle', 'in_channels': 4, 'out_channels': 2, 'scale_factor': 3, 'upsample_kernel': 3}
    )
    assert isinstance(shuffle, PixelShufflePack)
    assert list(shuffle.state_dict()) == ['upsample_conv.weight', 'upsample_conv.bias']
    x = torch.rand(1, 4, 5, 5)
    assert deconv(x).shape == (1, 2, 10, 10)
    assert shuffle(x).shape == (1, 2, 15, 15)


def test_plugin_name_and_arguments(registered):
    class ContextThing(nn.Module):
        def __init__(self, in_channels, ratio):
            super().__init__()
            self.settings = (in_channels, ratio)

    registered(ContextThing)
    name, layer = build_plugin_layer({'type': 'ContextThing', 'ratio': 0.5}, postfix='_after', in_channels=8)
    assert name == 'context_thing_after'
    assert layer.settings == (8, 0.5)
    assert (
        build_plugin_layer({'type': 'ConvModule', 'kernel_size': 1}, in_channels=2, out_channels=3)[0] == 'conv_block'
    )


def test_dropout_types():
    assert build_dropout({'type': 'Dropout', 'drop_prob': 0.3}).p == 0.3
    assert build_dropout({'type': 'DropPath', 'drop_prob': 0.3}).drop_prob == 0.3


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: build_activation_layer({'type': 'RelU'}), "not a known activation layer. Did you mean 'ReLU'"),
        (lambda: build_norm_layer({'type': 'BNN'}, 8), "not a known norm layer. Did you mean 'BN"),
        (lambda: build_conv_layer({'type': 'Conv2D'}, 1, 1, 1), "Did you mean 'Conv2d'"),
        (lambda: build_padding_layer({'type': 'reflekt'}, 1), "Did you mean 'reflect'"),
        (lambda: build_upsample_layer({'type': 'bilinaer'}), "Did you mean 'bilinear'"),
        (lambda: build_norm_layer({'num_groups': 2}, 8), "must be a dict with the key 'type'"),
        (
            lambda: build_activation_layer('ReLU'),
            "The config of an activation layer must be a dict with the key 'type', but got 'ReLU'",
        ),
        (lambda: build_plugin_layer({'type': 'ContextBlok'}), "Did you mean 'ContextBlock'\\?$"),
        (lambda: build_norm_layer({'type': 'GN', 'num_groups': 3}, 8), 'divisible by num_groups, but got 8 channels'),
        (lambda: build_norm_layer({'type': 'GN'}, 8), "GroupNorm needs 'num_groups'"),
        (
            lambda: build_norm_layer({'type': 'BN', 'momentun': 0.1}, 8),
            "'BN' takes no argument 'momentun'; did you mean 'momentum'",
        ),
        (lambda: build_conv_layer(None, 1, 1, 1, strides=2), "takes no argument 'strides'"),
        (lambda: build_dropout({'type': 'DropPath', 'drop_prob': 1.0}), r'in \[0, 1\)'),
        (lambda: build_activation_layer({'type': 'HSigmoid', 'divisor': 0}), 'divisor'),
    ],
)
def test_messages(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_unknown_type_is_a_config_error_with_the_config():
    cfg = {'type': 'RelU'}
    with pytest.raises(ConfigError) as caught:
        build_activation_layer(cfg)
    assert caught.value.cfg is cfg


@pytest.mark.parametrize(
    ('build', 'cfg'),
    [
        (lambda cfg: build_conv_layer(cfg, 1, 1, 1), {'type': 'DCN', 'group': 1}),
        (lambda cfg: build_norm_layer(cfg, 8), {'type': 'GN', 'num_groups': 2, 'epsilon': 1}),
        (lambda cfg: build_plugin_layer(cfg, in_channels=8), {'type': 'ContextBlock', 'ratios': 2}),
    ],
)
def test_an_unknown_argument_is_a_config_error_with_the_config(build, cfg):
    with pytest.raises(ConfigError, match=f"'{cfg['type']}' takes no argument .* did you mean") as caught:
        build(cfg)
    assert caught.value.cfg is cfg
