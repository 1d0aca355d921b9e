"""ResNeXt, RegNet, Res2Net and ResNeSt: sizes as published, what their blocks compute, every option."""

import doctest

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import RegNet, Res2Net, ResNeSt, ResNet, ResNeXt, regnet
from mmdetlike.models.backbones.regnet import stages_of
from mmdetlike.models.backbones.resnet_variants import SplitAttentionConv2d
from mmdetlike.models.layers import ConvWS2d, build_conv_layer, fuse_conv_bn
from mmdetlike.registry import MODELS
from tests.models.backbone_checks import count, dead_parameters, in_training, run, shapes, trainable

TINY_REGNET = dict(w0=8, wa=4.0, wm=2.0, group_w=8, depth=8)


def tiny(cls, **kwargs):
    """A small network of a family."""
    if cls is RegNet:
        return RegNet(
            TINY_REGNET, stem_channels=8, strides=(2, 2, 2), dilations=(1, 1, 1), out_indices=(0, 1, 2), **kwargs
        )
    sizes = {ResNeXt: dict(groups=2, base_width=4), Res2Net: dict(base_width=4), ResNeSt: {}}[cls]
    return cls(depth=50, base_channels=8, stem_channels=8, **sizes, **kwargs)


FAMILY = [ResNeXt, RegNet, Res2Net, ResNeSt]


def perturbed(model, seed=0):
    """The model with norms that are no identities, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(len(tensor), generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.rand(len(tensor), generator=generator) - 0.5)
    return model.eval()


# -- what all of them keep -------------------------------------------------------------------------------------------


def test_docstring_examples():
    results = doctest.testmod(regnet)
    assert results.attempted >= 1 and results.failed == 0


@pytest.mark.parametrize('cls', [ResNeXt, Res2Net, ResNeSt])
def test_maps_halve_and_widen(cls):
    maps = run(tiny(cls), 64, 97)
    assert shapes(maps) == [(32, 16, 25), (64, 8, 13), (128, 4, 7), (256, 2, 4)]
    assert all(float(m.min()) >= 0 < float(m.max()) for m in maps)


@pytest.mark.parametrize('cls', [ResNeXt, Res2Net, ResNeSt])
@pytest.mark.parametrize('depth, blocks', [(50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))])
def test_depths(cls, depth, blocks):
    with torch.device('meta'):
        model = cls(depth=depth)
    assert tuple(len(getattr(model, f'layer{i}')) for i in range(1, 5)) == blocks


@pytest.mark.parametrize('cls, depth', [(ResNeXt, 18), (Res2Net, 34), (ResNeSt, 201)])
def test_unknown_depth(cls, depth):
    with pytest.raises(ValueError, match=rf'depth must be one of \[50, 101, 152.*\], got {depth}'):
        cls(depth=depth)


@pytest.mark.parametrize('cls', FAMILY)
def test_frozen_stages_and_norms(cls):
    model = tiny(cls, frozen_stages=1, norm_eval=False).train()
    rest = {'layer2', 'layer3'} | ({'layer4'} if cls is not RegNet else set())
    assert trainable(model) == in_training(model) == rest
    assert in_training(tiny(cls, norm_eval=True).train()) == set()
    assert len(trainable(tiny(cls))) == len(rest) + (2 if cls in (Res2Net, ResNeSt) else 3)


@pytest.mark.parametrize('cls', FAMILY)
def test_every_parameter_learns(cls):
    assert dead_parameters(tiny(cls)) == []


@pytest.mark.parametrize('cls', FAMILY)
def test_checkpointing_changes_nothing(cls):
    plain, saving = tiny(cls), tiny(cls, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    image, gradients = torch.rand(2, 3, 64, 64), []
    for model in (plain, saving):
        model.train()(image)[-1].square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert float(gradients[0][0].abs().max()) > 0
    for plain_grad, saving_grad in zip(*gradients):
        torch.testing.assert_close(plain_grad, saving_grad)


@pytest.mark.parametrize('cls', FAMILY)
def test_zero_init_makes_blocks_the_identity(cls):
    model = tiny(cls)
    model.init_weights()
    block, x = model.layer2[1].eval(), torch.rand(1, model.layer2[1].in_channels, 8, 8)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    assert float(model.layer2[0].downsample[-1].weight.detach().min()) == 1


@pytest.mark.parametrize('cls', FAMILY)
def test_fused_norms_compute_the_same(cls):
    model, image = perturbed(tiny(cls)), torch.rand(1, 3, 64, 64)
    expected = model(image)
    fused = fuse_conv_bn(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for name, m in fused.named_modules() if '.bns.' not in name)
    for a, b in zip(fused(image), expected):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('cls', FAMILY)
def test_misspelled_argument(cls):
    cfg = dict(type=cls.__name__, frozen_stage=1, **(dict(arch='regnetx_400mf') if cls is RegNet else dict(depth=50)))
    with pytest.raises(ConfigError, match="did you mean 'frozen_stages'"):
        MODELS.build(cfg)


@pytest.mark.parametrize('cls', FAMILY)
def test_caffe_style_strides_first(cls):
    block = tiny(cls, style='caffe').layer2[0].eval()
    assert block.conv1.stride == (2, 2) and block(torch.rand(1, block.in_channels, 8, 8)).shape[2:] == (4, 4)


def test_dcn_takes_the_groups():
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
    model = tiny(ResNeXt, dcn=dcn, stage_with_dcn=(False, False, False, True))
    conv = model.layer4[0].conv2
    assert type(conv).__name__ == 'ModulatedDeformConv2dPack' and (conv.groups, conv.in_channels) == (2, 64)
    split = tiny(ResNeSt, dcn=dcn, stage_with_dcn=(False, False, False, True)).layer4[0].conv2.conv
    assert type(split).__name__ == 'ModulatedDeformConv2dPack' and (split.groups, split.out_channels) == (2, 128)


# -- ResNeXt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'depth, groups, base_width, size', [(50, 32, 4, 25_028_904), (101, 32, 8, 88_791_336), (101, 64, 4, 83_455_272)]
)
def test_resnext_has_the_published_size(depth, groups, base_width, size):
    with torch.device('meta'):
        model = ResNeXt(depth=depth, groups=groups, base_width=base_width)
    assert count(model) == size - 2049 * 1000  # without the classifier


def test_resnext_of_one_group_is_a_resnet():
    with torch.device('meta'):
        ours, resnet = ResNeXt(depth=50).state_dict(), ResNet(50).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in resnet.items()}


def test_resnext_widths():
    model = ResNeXt(depth=50, groups=32, base_width=4)
    for i, width in enumerate((128, 256, 512, 1024), 1):
        conv = getattr(model, f'layer{i}')[0].conv2
        assert (conv.groups, conv.in_channels, conv.weight.shape[1]) == (32, width, width // 32)


# -- RegNet ----------------------------------------------------------------------------------------------------------

# widths and depths as published in the paper's model zoo
REGNETS = {
    'regnetx_400mf': ([32, 64, 160, 384], [1, 2, 7, 12]),
    'regnetx_800mf': ([64, 128, 288, 672], [1, 3, 7, 5]),
    'regnetx_1.6gf': ([72, 168, 408, 912], [2, 4, 10, 2]),
    'regnetx_3.2gf': ([96, 192, 432, 1008], [2, 6, 15, 2]),
    'regnetx_4.0gf': ([80, 240, 560, 1360], [2, 5, 14, 2]),
    'regnetx_6.4gf': ([168, 392, 784, 1624], [2, 4, 10, 1]),
    'regnetx_8.0gf': ([80, 240, 720, 1920], [2, 5, 15, 1]),
    'regnetx_12gf': ([224, 448, 896, 2240], [2, 5, 11, 1]),
}


@pytest.mark.parametrize('name', REGNETS)
def test_regnet_stages_are_the_published_ones(name):
    stages = stages_of(RegNet.arch_settings[name])
    assert ([s['channels'] for s in stages], [s['num_blocks'] for s in stages]) == REGNETS[name]


@pytest.mark.parametrize(
    'name, size',
    [('800mf', 7_259_656), ('1.6gf', 9_190_136), ('3.2gf', 15_296_552), ('8.0gf', 39_572_648)],
)
def test_regnet_has_the_published_size(name, size):
    with torch.device('meta'):
        model = RegNet(f'regnetx_{name}')
    assert count(model) == size - (model.feat_dim + 1) * 1000  # without the classifier


def test_regnet_of_given_parameters():
    with torch.device('meta'):
        named, given = RegNet('regnetx_3.2gf'), RegNet(RegNet.arch_settings['regnetx_3.2gf'])
    assert {k: v.shape for k, v in named.state_dict().items()} == {k: v.shape for k, v in given.state_dict().items()}


def test_regnet_of_three_stages():
    assert RegNet.generate_regnet(8, 4.0, 2.0, 8) == ([8, 16, 16, 16, 32, 32, 32, 32], 3)
    assert shapes(run(tiny(RegNet))) == [(8, 16, 24), (16, 8, 12), (32, 4, 6)]


def test_regnet_bottleneck_ratio():
    stages = stages_of(dict(w0=32, wa=0, wm=2.0, group_w=24, depth=2, bot_mul=0.5))
    # half of 32 is 16, less than a group: one group of 16
    assert [(s['channels'], s['width'], s['groups'], s['num_blocks']) for s in stages] == [(32, 16, 1, 2)]
    stages = stages_of(dict(w0=64, wa=0, wm=2.0, group_w=24, depth=1, bot_mul=1.0))
    # 64 channels are 2.7 groups of 24: three groups, and a wider output
    assert [(s['channels'], s['width'], s['groups']) for s in stages] == [(72, 72, 3)]


@pytest.mark.parametrize(
    'arch, message',
    [
        ('regnety_400mf', r"arch must be one of regnetx_400mf, .* or a dict, got 'regnety_400mf'"),
        (dict(w0=8, wa=4.0, wm=2.0, depth=8), 'arch must have the keys depth, group_w, w0, wa, wm'),
        (dict(TINY_REGNET, width=3), r"may have bot_mul and se_ratio, got .*'width': 3"),
        (dict(TINY_REGNET, wm=1.0), 'wm > 1'),
        (TINY_REGNET, 'has 3 stages, but strides has 4'),
    ],
)
def test_regnet_of_wrong_parameters(arch, message):
    with pytest.raises(ValueError, match=message):
        RegNet(arch)


def test_regnet_has_no_deep_stem():
    with pytest.raises(ValueError, match='deep_stem must be False'):
        RegNet('regnetx_400mf', deep_stem=True)


# -- Res2Net ---------------------------------------------------------------------------------------------------------


def test_res2net_hierarchy():
    model = perturbed(tiny(Res2Net, scales=3))
    for first, block in ((True, model.layer2[0]), (False, model.layer2[1])):
        x = torch.rand(1, block.in_channels, 8, 8)
        a, b, c = torch.relu(block.bn1(block.conv1(x))).split(8, dim=1)
        y1 = torch.relu(block.bns[0](block.convs[0](a)))
        y2 = torch.relu(block.bns[1](block.convs[1](b if first else b + y1)))
        c = F.avg_pool2d(c, 3, stride=2, padding=1) if first else c
        shortcut = block.downsample(x) if first else x
        expected = torch.relu(block.bn3(block.conv3(torch.cat([y1, y2, c], 1))) + shortcut)
        torch.testing.assert_close(block(x), expected, rtol=1e-6, atol=1e-6)


def test_res2net_widths():
    with torch.device('meta'):
        model = Res2Net(depth=50, scales=4, base_width=26)
    assert [getattr(model, f'layer{i}')[0].convs[0].in_channels for i in range(1, 5)] == [26, 52, 104, 208]
    assert model.layer1[0].conv1.out_channels == 104 and len(model.layer1[0].convs) == 3
    with torch.device('meta'):
        plain_stem = Res2Net(depth=50, deep_stem=False, avg_down=False)
    assert plain_stem.conv1.kernel_size == (7, 7) and plain_stem.layer2[0].downsample[0].stride == (2, 2)


def test_res2net_needs_two_scales():
    with pytest.raises(ValueError, match='scales must be at least 2, got 1'):
        Res2Net(depth=50, scales=1)


# -- ResNeSt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('depth, stem, size', [(50, 64, 27_483_240), (101, 128, 48_275_016), (200, 128, 70_201_544)])
def test_resnest_has_the_published_size(depth, stem, size):
    with torch.device('meta'):
        model = ResNeSt(depth=depth, stem_channels=stem)
    assert count(model) == size - 2049 * 1000  # without the classifier


@pytest.mark.parametrize('radix, groups', [(1, 1), (2, 1), (3, 1), (2, 2)])
def test_split_attention_weighs_the_splits(radix, groups):
    torch.manual_seed(0)
    layer = perturbed(SplitAttentionConv2d(12, 12, 3, padding=1, groups=groups, radix=radix))
    x = torch.rand(2, 12, 5, 6)
    splits = torch.relu(layer.bn0(layer.conv(x))).chunk(radix, 1)
    logits = layer.fc2(torch.relu(layer.bn1(layer.fc1(sum(splits).mean((2, 3), keepdim=True)))))
    expected = torch.empty(2, 12, 5, 6)
    for channel in range(12):
        group, within = divmod(channel, 12 // groups)
        at = [(group * radix + r) * (12 // groups) + within for r in range(radix)]
        weights = logits[:, at].softmax(1) if radix > 1 else logits[:, at].sigmoid()
        expected[:, channel] = sum(weights[:, r] * splits[r][:, channel] for r in range(radix))
    torch.testing.assert_close(layer(x), expected)


def test_split_attention_has_at_least_32_channels_inside():
    assert SplitAttentionConv2d(8, 8, 3).fc1.out_channels == 32
    assert SplitAttentionConv2d(128, 128, 3, reduction_factor=4).fc1.out_channels == 64


def test_resnest_strides_by_pooling():
    pooled, strided = tiny(ResNeSt).eval().layer2[0], tiny(ResNeSt, avg_down_stride=False).eval().layer2[0]
    assert pooled.conv2.conv.stride == (1, 1) and isinstance(pooled.avd_layer, nn.AvgPool2d)
    assert strided.conv2.conv.stride == (2, 2) and isinstance(strided.avd_layer, nn.Identity)
    x = torch.rand(1, 32, 8, 8)
    assert pooled(x).shape == strided(x).shape == (1, 64, 4, 4)


def test_resnest_group_norm_names():
    state = ResNeSt(depth=50, norm_cfg=dict(type='GN', num_groups=32)).state_dict()
    assert {'layer1.0.conv2.gn0.weight', 'layer1.0.conv2.gn1.weight', 'layer1.0.gn3.bias'} <= set(state)
    assert 'layer1.0.gn2.weight' not in state


# -- ResNet with weight standardization ------------------------------------------------------------------------------


def test_weight_standardization():
    conv, x = ConvWS2d(6, 4, 3, stride=2, padding=1, groups=2), torch.rand(1, 6, 7, 7)
    weight = torch.stack([(w - w.mean()) / (w.std() + 1e-5) for w in conv.weight])
    torch.testing.assert_close(conv(x), F.conv2d(x, weight, conv.bias, stride=2, padding=1, groups=2))
    # a weight's scale and offset don't matter
    other = ConvWS2d(6, 4, 3, stride=2, padding=1, groups=2)
    other.load_state_dict({'weight': 3 * conv.weight + 0.5, 'bias': conv.bias})
    torch.testing.assert_close(other(x), conv(x), rtol=1e-3, atol=1e-3)


def test_resnet_of_standardized_convolutions():
    model = ResNet(50, base_channels=32, conv_cfg=dict(type='ConvWS'), norm_cfg=dict(type='GN', num_groups=32))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 53 and all(isinstance(m, ConvWS2d) for m in convs)
    assert isinstance(build_conv_layer(dict(type='ConvWS', eps=0.1), 3, 4, 1), ConvWS2d)


def test_squeeze_and_excitation_of_regnety():
    sizes = dict(strides=(2, 2, 2), dilations=(1, 1, 1), out_indices=(0, 1, 2))
    block = RegNet(dict(TINY_REGNET, se_ratio=0.25), **sizes).layer2[1].eval()
    se = block.se
    x = torch.rand(1, block.in_channels, 8, 8)
    inner = block.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))))
    hidden = torch.relu(se.conv1.conv(inner.mean((2, 3), keepdim=True)))
    assert hidden.shape[1] == block.in_channels // 4
    scaled = inner * torch.sigmoid(se.conv2.conv(hidden))
    torch.testing.assert_close(block(x), torch.relu(x + block.bn3(block.conv3(scaled))))
    assert not any('se.' in name for name in tiny(RegNet).state_dict())
