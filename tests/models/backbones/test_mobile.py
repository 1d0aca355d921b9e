"""MobileNets, EfficientNet and SSD's VGG, with the layers that are theirs."""

import doctest
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.models.backbones import SSDVGG, EfficientNet, MobileNetV2, MobileNetV3
from mmdetlike.models.layers import EdgeResidual, InvertedResidual, L2Norm, fuse_conv_bn
from mmdetlike.models.necks import SSDNeck
from mmdetlike.models.utils import make_divisible
from tests.models.backbone_checks import count, dead_parameters, in_training, run, shapes, trainable


@pytest.mark.parametrize('module', ['backbones.mobilenet', 'backbones.ssd_vgg', 'utils.misc'])
def test_docstring_examples(module):
    module = import_module(f'mmdetlike.models.{module}')
    results = doctest.testmod(module, extraglobs=dict(torch=torch))
    assert results.attempted >= 1 and results.failed == 0


# -- MobileNetV3 -----------------------------------------------------------------------------------------------------


def test_large_mobilenet_has_the_published_size():
    classifier = (960 + 1) * 1280 + (1280 + 1) * 1000
    assert count(MobileNetV3()) == 5_483_032 - classifier


def test_large_mobilenet_maps():
    maps = shapes(run(MobileNetV3(out_indices=range(17))))
    assert [s[0] for s in maps] == [16, 16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160, 960]
    assert [maps[i][2] for i in (0, 2, 4, 7, 13, 16)] == [48, 24, 12, 6, 3, 3]
    reduced = MobileNetV3(reduced_tail=True, out_indices=(12, 13, 15, 16))
    assert [s[0] for s in shapes(run(reduced))] == [112, 80, 80, 480]


def test_expanded_map_is_in_the_middle_of_its_layer():
    model = MobileNetV3(out_indices=(12, 13, 16)).eval()
    expanding = MobileNetV3(out_indices=(12, 13, 16), expanded_indices=(13,)).eval()
    expanding.load_state_dict(model.state_dict())
    image = torch.rand(1, 3, 64, 64)
    before, _, last = model(image)
    _, expanded, same = expanding(image)
    assert torch.equal(expanded, model.layer13.expand_conv(before))
    assert torch.equal(last, same)


def test_large_mobilenet_freezing():
    assert trainable(MobileNetV3(frozen_stages=15).train()) == {'layer15', 'layer16'}
    assert in_training(MobileNetV3(norm_eval=True).train()) == set()


def test_what_layers_there_are():
    with pytest.raises(ValueError, match='out_indices must be in 0 to 16, got'):
        MobileNetV3(out_indices=(17,))
    with pytest.raises(ValueError, match=r'expanded_indices must be among out_indices \[13, 16\] and \[2, 4, 7, 13\]'):
        MobileNetV3(expanded_indices=(16,))


# -- MobileNetV2 -----------------------------------------------------------------------------------------------------


def test_mobilenet_has_the_published_size():
    assert count(MobileNetV2()) == 3_504_872 - 1281 * 1000  # without the classifier


def test_mobilenet_maps():
    maps = run(MobileNetV2(out_indices=range(8)))
    assert [s[0] for s in shapes(maps)] == [16, 24, 32, 64, 96, 160, 320, 1280]
    assert [s[2] for s in shapes(maps)] == [48, 24, 12, 6, 6, 3, 3, 3]
    assert [s[0] for s in shapes(run(MobileNetV2()))] == [24, 32, 96, 1280]


@pytest.mark.parametrize('factor, widths', [(0.5, [8, 16, 16, 32, 48, 80, 160, 1280]), (1.4, [24, 32, 48, 88])])
def test_mobilenet_width(factor, widths):
    maps = run(MobileNetV2(factor, out_indices=range(8)), 32, 32)
    assert [s[0] for s in shapes(maps)][: len(widths)] == widths
    assert maps[-1].shape[1] == max(1280, int(1280 * factor))


def test_mobilenet_freezing():
    model = MobileNetV2(frozen_stages=2).train()
    assert trainable(model) == in_training(model) == {'layer3', 'layer4', 'layer5', 'layer6', 'layer7', 'conv2'}
    assert 'conv1' not in trainable(MobileNetV2(frozen_stages=0))
    assert len(trainable(MobileNetV2(frozen_stages=-1))) == 9
    assert in_training(MobileNetV2(norm_eval=True).train()) == set()


def test_mobilenet_checkpointing_changes_nothing():
    plain, saving = MobileNetV2(0.25).train(), MobileNetV2(0.25, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    image = torch.rand(2, 3, 64, 64)
    gradients = []
    for model in (plain, saving):
        model(image)[-1].square().sum().backward()
        gradients.append(model.layer2[0].depthwise_conv.conv.weight.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0


def test_mobilenet_wrong_settings():
    with pytest.raises(ValueError, match=r'out_indices must be in 0 to 7, got \(7, 8\)'):
        MobileNetV2(out_indices=(7, 8))
    with pytest.raises(ValueError, match='frozen_stages must be in -1 to 7, got 8'):
        MobileNetV2(frozen_stages=8)
    with pytest.raises(ValueError, match='either pretrained or init_cfg'):
        MobileNetV2(pretrained='x.pth', init_cfg=dict(type='Kaiming', layer='Conv2d'))
    assert MobileNetV2(pretrained='x.pth').init_cfg == dict(type='Pretrained', checkpoint='x.pth')


# -- EfficientNet ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'arch, published, last',
    [
        ('b0', 5_288_548, 1280),
        ('b1', 7_794_184, 1280),
        ('b2', 9_109_994, 1408),
        ('b3', 12_233_232, 1536),
        ('b4', 19_341_616, 1792),
        ('es', 5_438_392, 1280),
        ('em', 6_899_496, 1280),
        ('el', 10_589_712, 1536),
    ],
)
def test_efficientnet_has_the_published_size(arch, published, last):
    with torch.device('meta'):
        model = EfficientNet(arch)
    assert count(model) == published - (last + 1) * 1000  # without the classifier


def test_efficientnet_maps():
    maps = run(EfficientNet('b0', out_indices=range(7)))
    assert shapes(maps) == [
        (32, 32, 48),
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
        (1280, 2, 3),
    ]
    assert [s[0] for s in shapes(run(EfficientNet('es', out_indices=(1, 2, 3, 4, 5)), 32, 32))] == [
        24,
        32,
        48,
        144,
        192,
    ]


def test_efficientnet_ends_with_the_last_output():
    model = EfficientNet('b0', out_indices=(2, 4))
    assert len(model.layers) == 5
    assert [s[0] for s in shapes(run(model))] == [24, 112]


def test_efficientnet_odd_sizes_are_rounded_up():
    assert shapes(run(EfficientNet('b0', out_indices=(0, 2, 3)), 33, 65)) == [(32, 17, 33), (24, 9, 17), (40, 5, 9)]


def test_efficientnet_kinds_of_blocks():
    edge = EfficientNet('em', out_indices=(5,))
    assert [type(m) for m in edge.layers[1]] == [EdgeResidual, EdgeResidual]
    assert not any(m.with_residual for m in edge.layers[1])
    assert [m.with_residual for m in edge.layers[3]] == [False, True, True, True, True]
    assert all(isinstance(m, InvertedResidual) and not hasattr(m, 'se') for m in edge.layers[4])
    plain = EfficientNet('b0', out_indices=(2,))
    assert not hasattr(plain.layers[1][0], 'expand_conv')
    assert plain.layers[2][0].se.conv1.out_channels == 16 // 4


def test_efficientnet_drop_path_rises():
    model = EfficientNet('b0', drop_path_rate=0.15, out_indices=(5,))
    rates = [getattr(block.drop_path, 'drop_prob', 0) for stage in model.layers[1:] for block in stage]
    assert rates == pytest.approx([0.01 * i for i in range(16)])


def test_efficientnet_freezing():
    model = EfficientNet('b0', frozen_stages=3, out_indices=(4,)).train()
    assert [any(p.requires_grad for p in stage.parameters()) for stage in model.layers] == [False] * 3 + [True] * 2
    assert [stage.training for stage in model.layers] == [False] * 3 + [True] * 2
    assert all(p.requires_grad for p in EfficientNet('b0', out_indices=(1,)).parameters())
    assert not any(
        m.training for m in EfficientNet('b0', norm_eval=True).train().modules() if 'BatchNorm' in repr(type(m))
    )


def test_efficientnet_fuses():
    torch.manual_seed(0)
    model = EfficientNet('b0', out_indices=(3,)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    image = torch.rand(1, 3, 65, 64)
    with torch.no_grad():
        before = model(image)[0]
        after = fuse_conv_bn(model)(image)[0]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_efficientnet_wrong_settings():
    with pytest.raises(ValueError, match=r"arch must be one of \['b0', .*'el'\], got 'b9'"):
        EfficientNet('b9')
    with pytest.raises(ValueError, match='out_indices must be in 0 to 6'):
        EfficientNet('b0', out_indices=(7,))


# -- VGG and SSD's own layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('depth, published', [(11, 9_220_480), (13, 9_404_992), (16, 14_714_688), (19, 20_024_384)])
def test_vgg_has_the_published_size(depth, published):
    with torch.device('meta'):
        model = SSDVGG(depth)
    extra = 1024 * (512 * 9 + 1) + 1024 * (1024 + 1)
    assert count(model) == published + extra


def test_vgg_of_ssd300():
    model = SSDVGG(16)
    assert [isinstance(model.features[i], nn.ReLU) for i in (22, 34)] == [True, True]
    assert model.features[31].dilation == (6, 6)
    assert shapes(run(model, 60, 60)) == [(512, 8, 8), (1024, 4, 4)]
    assert shapes(run(SSDVGG(16, ceil_mode=False), 60, 60)) == [(512, 7, 7), (1024, 3, 3)]
    assert shapes(run(SSDVGG(16, with_last_pool=True, out_feature_indices=(35,)), 60, 60)) == [(1024, 2, 2)]


def test_documented_sizes_of_the_smallest_net():
    backbone = SSDVGG(depth=11)
    neck = SSDNeck((1024,), (1024, 512, 256, 256, 256), (2, 2, 1, 1), (1, 1, 0, 0))
    with torch.no_grad():
        maps = neck(backbone(torch.rand(1, 3, 300, 300)))
    assert shapes(maps) == [(1024, 19, 19), (512, 10, 10), (256, 5, 5), (256, 3, 3), (256, 1, 1)]


def test_vgg_wrong_settings():
    with pytest.raises(ValueError, match=r'depth must be one of \[11, 13, 16, 19\], got 12'):
        SSDVGG(12)
    with pytest.raises(
        ValueError, match=r'out_feature_indices must name some of the 25 layers of depth 11, got \(34,\)'
    ):
        SSDVGG(11, out_feature_indices=(34,))


def test_layers_of_vgg_behind_the_last_output_are_not_trained():
    model = SSDVGG(11, out_feature_indices=(2, 22))
    assert model.freeze_unused_stages() == ['features.23', 'features.24']
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        'features.23.weight',
        'features.23.bias',
    ]


def test_l2_norm():
    x = torch.tensor([3.0, 4.0, 0.0, 0.0]).reshape(1, 2, 2, 1).requires_grad_()
    norm = L2Norm(2, scale=10)
    assert norm.weight.tolist() == [10, 10]
    out = norm(x)
    # the cells hold (3, 0) and (4, 0)
    torch.testing.assert_close(out.flatten(), torch.tensor([10.0, 10.0, 0.0, 0.0]))
    both = norm(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1))
    torch.testing.assert_close(both.flatten(), torch.tensor([6.0, 8.0]))
    out.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_l2_norm_of_nothing_and_of_half_precision():
    x = torch.zeros(1, 2, 1, 1, requires_grad=True)
    out = L2Norm(2)(x)
    out.sum().backward()
    assert out.abs().sum() == 0 and torch.isfinite(x.grad).all()
    half = L2Norm(2)(torch.full((1, 2, 1, 1), 300.0, dtype=torch.float16))  # 300 squared is beyond float16
    assert half.dtype == torch.float16
    assert half.flatten().tolist() == pytest.approx([20 / 2**0.5] * 2, rel=1e-3)


def test_make_divisible():
    assert [make_divisible(n, 8) for n in (1, 8, 11.9, 12, 100, 33.6)] == [8, 8, 16, 16, 104, 32]
    assert make_divisible(11, 8, min_ratio=0.5) == 8
    assert make_divisible(3, 8, min_value=16) == 16
    for n in range(1, 300):
        assert make_divisible(n, 8) % 8 == 0 and make_divisible(n, 8) >= 0.9 * n


def test_edge_residual_is_two_convolutions_and_a_shortcut():
    torch.manual_seed(0)
    block = EdgeResidual(4, 4, 8, norm_cfg=None)
    x = torch.rand(1, 4, 6, 6)
    hidden = F.relu(F.conv2d(x, block.conv1.conv.weight, block.conv1.conv.bias, padding=1))
    expected = x + F.conv2d(hidden, block.conv2.conv.weight, block.conv2.conv.bias)
    torch.testing.assert_close(block(x), expected)
    assert block.state_dict().keys() == {f'conv{i}.conv.{name}' for i in (1, 2) for name in ('weight', 'bias')}
    assert EdgeResidual(4, 6, 8, stride=2)(x).shape == (1, 6, 3, 3)
    assert not EdgeResidual(4, 4, 8, with_residual=False).with_residual
    with pytest.raises(ValueError, match='stride must be 1 or 2, but got 3'):
        EdgeResidual(4, 4, 8, stride=3)


@pytest.mark.parametrize(
    'model', [MobileNetV2(0.25, out_indices=(7,)), EfficientNet('b0', out_indices=(6,))], ids=lambda m: type(m).__name__
)
def test_every_parameter_gets_a_gradient(model):
    assert dead_parameters(model) == []
