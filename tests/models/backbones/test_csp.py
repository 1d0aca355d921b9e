"""Darknet, CSPDarknet and CSPNeXt, with the layers that are theirs."""

import doctest
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.models.backbones import CSPDarknet, CSPNeXt, Darknet
from mmdetlike.models.layers import CSPLayer, CSPNeXtBlock, DarknetBottleneck, Focus, SPPBottleneck
from tests.models.backbone_checks import count, dead_parameters, in_training, run, shapes, trainable

TINY = dict(deepen_factor=0.33, widen_factor=0.125)


@pytest.mark.parametrize('module', ['darknet', 'csp_darknet'])
def test_docstring_examples(module):
    module = import_module(f'mmdetlike.models.backbones.{module}')
    results = doctest.testmod(module, extraglobs=dict(torch=torch))
    assert results.attempted >= 1 and results.failed == 0


# -- Darknet ---------------------------------------------------------------------------------------------------------


def test_darknet_has_the_published_size():
    with torch.device('meta'):
        assert count(Darknet(53)) == 41_609_928 - 1025 * 1000  # without the classifier


def test_darknet_maps():
    assert shapes(run(Darknet(out_indices=(0, 1, 5)), 32, 64)) == [(32, 32, 64), (64, 16, 32), (1024, 1, 2)]


def test_darknet_freezing():
    names = ['conv1', *(f'conv_res_block{i}' for i in range(1, 6))]
    model = Darknet(frozen_stages=3, norm_eval=False).train()
    assert trainable(model) == in_training(model) == set(names[3:])
    for nothing in (-1, 0):
        assert trainable(Darknet(frozen_stages=nothing)) == set(names)
    assert in_training(Darknet().train()) == set()  # norm_eval is on


def test_darknet_residual_block():
    torch.manual_seed(0)
    block = Darknet().conv_res_block1.res0.eval()
    x = torch.rand(1, 64, 5, 5)
    torch.testing.assert_close(block(x) - x, block.conv2(block.conv1(x)))
    assert block.conv1.conv.out_channels == 32
    assert isinstance(block.conv1.activate, nn.LeakyReLU) and block.conv1.activate.negative_slope == 0.1


def test_darknet_wrong_settings():
    with pytest.raises(ValueError, match=r'depth must be one of \[53\], got 50'):
        Darknet(50)
    with pytest.raises(ValueError, match=r'out_indices must be in 0 to 5, got \[6\]'):
        Darknet(out_indices=[6])


# -- CSPDarknet and CSPNeXt ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_csp_maps(backbone):
    assert shapes(run(backbone(**TINY))) == [(32, 8, 12), (64, 4, 6), (128, 2, 3)]
    assert shapes(run(backbone('P6', out_indices=(0, 5), **TINY))) == [(8, 32, 48), (128, 1, 2)]


@pytest.mark.parametrize('backbone, blocks', [(CSPDarknet, [1, 3, 3, 1]), (CSPNeXt, [1, 2, 2, 1])])
def test_csp_depth(backbone, blocks):
    model = backbone(**TINY)
    stages = [model.stage1, model.stage2, model.stage3, model.stage4]
    assert [len(stage[-1].blocks) for stage in stages] == blocks
    assert [isinstance(stage[1], SPPBottleneck) for stage in stages] == [False] * 3 + [True]
    assert [stage[-1].blocks[0].add_identity for stage in stages] == [True] * 3 + [False]


@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_csp_overwritten_architecture(backbone):
    model = backbone(arch_ovewrite=[[8, 12, 2, True, True], [12, 20, 1, False, False]], out_indices=(1, 2))
    assert shapes(run(model)) == [(12, 16, 24), (20, 8, 12)]
    assert len(model.stage1) == 3 and len(model.stage2) == 2


@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_csp_freezing(backbone):
    every = {'stem', 'stage1', 'stage2', 'stage3', 'stage4'}
    model = backbone(frozen_stages=1, **TINY).train()
    assert trainable(model) == in_training(model) == every - {'stem', 'stage1'}
    assert trainable(backbone(frozen_stages=0, **TINY)) == every - {'stem'}
    assert trainable(backbone(**TINY)) == every
    assert in_training(backbone(norm_eval=True, **TINY).train()) == set()


@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_csp_depthwise_is_smaller(backbone):
    full, thin = backbone(**TINY), backbone(use_depthwise=True, **TINY)
    assert count(thin) < 0.6 * count(full)
    assert shapes(run(thin)) == shapes(run(full))
    assert thin.stage1[0].depthwise_conv.conv.groups == 8


def test_cspnext_channel_attention():
    with_it, without = CSPNeXt(**TINY), CSPNeXt(channel_attention=False, **TINY)
    extra = set(with_it.state_dict()) - set(without.state_dict())
    assert extra == {f'stage{i}.{2 if i == 4 else 1}.attention.fc.{n}' for i in range(1, 5) for n in ('weight', 'bias')}
    assert with_it.stage1[1].attention.fc.in_channels == 16
    assert CSPNeXt(expand_ratio=1.0, **TINY).stage1[1].main_conv.out_channels == 16


def test_csp_init_is_kaiming_uniform():
    torch.manual_seed(0)
    model = CSPDarknet(**TINY)
    model.init_weights()
    weight = model.stage4[0].conv.weight
    bound = (1 / weight[0].numel()) ** 0.5  # a leaky slope of sqrt(5) makes it 1 / sqrt(fan in)
    assert 0.99 * bound < float(weight.detach().abs().max()) <= bound


@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_csp_wrong_settings(backbone):
    with pytest.raises(ValueError, match=r"arch must be one of \['P5', 'P6'\], got 'P7'"):
        backbone('P7')
    with pytest.raises(ValueError, match='out_indices must be in 0 to 4'):
        backbone(out_indices=(5,))
    with pytest.raises(ValueError, match='frozen_stages must be in -1 to 4, got 5'):
        backbone(frozen_stages=5)


@pytest.mark.parametrize(
    'model',
    [CSPDarknet(out_indices=(4,), **TINY), CSPNeXt('P6', out_indices=(5,), use_depthwise=True, **TINY)],
    ids=lambda m: type(m).__name__,
)
def test_every_parameter_gets_a_gradient(model):
    assert dead_parameters(model) == []


# -- layers ----------------------------------------------------------------------------------------------------------


def test_focus_order_of_pixels():
    layer = Focus(1, 4, norm_cfg=None, act_cfg=None)
    with torch.no_grad():
        layer.conv.conv.weight.copy_(torch.eye(4)[:, :, None, None])
        layer.conv.conv.bias.zero_()
    out = layer(torch.tensor([[0.0, 1.0], [2.0, 3.0]]).reshape(1, 1, 2, 2))
    assert out.flatten().tolist() == [0, 2, 1, 3]
    with pytest.raises(ValueError, match=r'sides must be even, got \(3, 4\)'):
        layer(torch.zeros(1, 1, 3, 4))


@pytest.mark.parametrize('sizes', [(5, 9, 13), (3,), (1, 7)])
def test_pyramid_pooling_is_max_pooling_at_each_size(sizes):
    torch.manual_seed(0)
    layer = SPPBottleneck(4, 6, sizes).eval()
    x = torch.randn(2, 4, 7, 11)
    hidden = layer.conv1(x)
    pooled = [F.max_pool2d(hidden, size, stride=1, padding=size // 2) for size in sizes]
    torch.testing.assert_close(layer(x), layer.conv2(torch.cat([hidden, *pooled], dim=1)), rtol=0, atol=0)


@pytest.mark.parametrize('sizes', [(4, 9), (9, 5), (5, 5)])
def test_pyramid_pooling_wrong_sizes(sizes):
    with pytest.raises(ValueError, match='kernel_sizes must be odd and ascending'):
        SPPBottleneck(4, 6, sizes)


@pytest.mark.parametrize('block, kernel', [(DarknetBottleneck, 1), (CSPNeXtBlock, 3)])
def test_blocks(block, kernel):
    torch.manual_seed(0)
    layer, x = block(4, 4).eval(), torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(layer(x), x + layer.conv2(layer.conv1(x)))
    assert layer.conv1.conv.kernel_size == (kernel, kernel) and layer.conv1.conv.out_channels == 2
    assert not block(4, 6).add_identity and not block(4, 4, add_identity=False).add_identity
    assert CSPNeXtBlock(4, 4, kernel_size=7).conv2.depthwise_conv.conv.padding == (3, 3)


@pytest.mark.parametrize('attention', [False, True])
def test_csp_layer_joins_main_and_short(attention):
    torch.manual_seed(0)
    layer = CSPLayer(6, 8, num_blocks=2, use_cspnext_block=attention, channel_attention=attention).eval()
    x = torch.rand(1, 6, 5, 5)
    joined = torch.cat([layer.blocks(layer.main_conv(x)), layer.short_conv(x)], dim=1)
    torch.testing.assert_close(layer(x), layer.final_conv(layer.attention(joined) if attention else joined))
    assert joined.shape[1] == 8 and len(layer.blocks) == 2
    assert type(layer.blocks[0]) is (CSPNeXtBlock if attention else DarknetBottleneck)


def test_a_network_without_channels_is_refused():
    with pytest.raises(ValueError, match=r'widen_factor=0\.01 leaves less than 2 of the 64 channels of a stage'):
        CSPDarknet(widen_factor=0.01)
