"""Names and methods that the documentation of toolbox 2.x gives backbones."""

import pytest
import torch
from torch import nn

from mmdetlike.models.backbones import (
    SSDVGG,
    Darknet,
    HourglassNet,
    HRNet,
    MobileNetV2,
    PyramidVisionTransformer,
    RegNet,
    Res2Net,
    ResLayer,
    ResNeSt,
    ResNet,
    ResNeXt,
    SimplifiedBasicBlock,
    SwinTransformer,
)
from mmdetlike.models.backbones.resnet import BasicBlock, Bottleneck


def test_plugins_of_a_stage():
    gcb, nl = dict(type='ContextBlock', ratio=0.25), dict(type='NonLocal2d')
    plugins = [
        dict(cfg=gcb, stages=(False, True, True, True), position='after_conv2'),
        dict(cfg=nl, stages=(False, True, True, False), position='after_conv3'),
        dict(cfg=gcb, position='after_conv3'),
    ]
    assert [p['cfg'] for p in ResNet.make_stage_plugins(plugins, 3)] == [gcb, gcb]
    assert len(ResNet.make_stage_plugins(plugins, 1)) == 3


@pytest.mark.parametrize('backbone', [ResNet, Res2Net, ResNeSt, ResNeXt])
def test_res_layer_of_a_backbone(backbone):
    model = backbone(depth=50)
    block = model.arch_settings[50][0]
    stage = model.make_res_layer(block=block, inplanes=256, planes=128, num_blocks=2, stride=2)
    assert stage(torch.rand(1, 256, 8, 8)).shape == (1, 512, 4, 4)
    assert [tuple(p.shape) for p in stage[1].parameters()] == [tuple(p.shape) for p in model.layer2[1].parameters()]


@pytest.mark.parametrize('first', [True, False])
def test_which_block_of_a_res_layer_changes_the_shape(first):
    layer = ResLayer(BasicBlock, 8, 16, 3, stride=2, downsample_first=first)
    assert [block.downsample is not None for block in layer] == [first, False, not first]
    assert layer(torch.rand(1, 8, 8, 8)).shape == (1, 16, 4, 4)
    assert isinstance(ResLayer(Bottleneck, 8, 4, 1, stride=2, avg_down=True)[0].downsample[0], nn.AvgPool2d)


def test_simplified_block():
    torch.manual_seed(0)
    block = SimplifiedBasicBlock(4, 4).eval()
    x = torch.randn(2, 4, 5, 5)
    inner = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(x)))))
    torch.testing.assert_close(block(x), x + inner)
    assert (block(x) < 0).any()
    plain = SimplifiedBasicBlock(4, 4, norm_cfg=None)
    assert plain.norm1 is None and plain.norm2 is None and plain.conv1.bias is not None
    torch.testing.assert_close(plain(x), x + plain.conv2(torch.relu(plain.conv1(x))))
    strided = SimplifiedBasicBlock(4, 8, stride=2, downsample=nn.Conv2d(4, 8, 1, stride=2))
    assert strided(x).shape == (2, 8, 3, 3)
    with pytest.raises(ValueError, match='neither with_cp, dcn nor plugins'):
        SimplifiedBasicBlock(4, 4, with_cp=True)


def test_norms_of_stems():
    model = ResNet(18)
    assert model.norm1 is model.bn1
    assert ResNet(18, norm_cfg=dict(type='GN', num_groups=8)).norm1.num_groups == 8
    with pytest.raises(AttributeError):
        ResNet(18, deep_stem=True).norm1  # noqa: B018
    stages = [dict(block='BOTTLENECK', num_blocks=(1,), num_channels=(8,), num_modules=1, num_branches=1)]
    for i in range(2, 5):
        widths = tuple(8 * 2**j for j in range(i))
        stages.append(dict(block='BASIC', num_blocks=(1,) * i, num_channels=widths, num_modules=1, num_branches=i))
    model = HRNet({f'stage{i}': stage for i, stage in enumerate(stages, 1)})
    assert model.norm1 is model.bn1 and model.norm2 is model.bn2


def test_stages_of_darknet_and_mobilenet():
    stage = Darknet.make_conv_res_block(4, 8, 2)
    assert list(dict(stage.named_children())) == ['conv', 'res0', 'res1']
    assert stage(torch.rand(1, 4, 8, 8)).shape == (1, 8, 4, 4)
    model = MobileNetV2()
    assert model.in_channels == 320
    assert model.make_layer(out_channels=16, num_blocks=2, stride=2, expand_ratio=6)(
        torch.rand(1, 320, 4, 4)
    ).shape == (1, 16, 2, 2)
    assert model.in_channels == 16


def test_widths_of_regnet():
    widths, num_stages = RegNet.generate_regnet(88, 26.31, 2.25, 25)
    assert num_stages == 4 and widths == [88] * 2 + [200] * 6 + [448] * 15 + [1000] * 2
    assert RegNet.get_stages_from_blocks(widths) == ([88, 200, 448, 1000], [2, 6, 15, 2])
    assert RegNet.adjust_width_group([88, 200, 448, 1000], [1] * 4, [48] * 4) == ([96, 192, 432, 1008], [48] * 4)
    assert [RegNet.quantize_float(number, 8) for number in (3, 13, 20.1)] == [8, 16, 24]


def test_sizes_may_be_pairs_and_indices_numbers():
    pvt = PyramidVisionTransformer(pretrain_img_size=(64, 32), num_layers=(1, 1, 1, 1), out_indices=3).eval()
    assert [tuple(out.shape) for out in pvt(torch.rand(1, 3, 64, 32))] == [(1, 512, 2, 1)]
    swin = SwinTransformer(patch_size=(4, 4), depths=(1, 1, 1, 1), embed_dims=12).eval()
    assert swin(torch.rand(1, 3, 32, 32))[0].shape == (1, 12, 8, 8)


def test_a_checkpoint_for_hourglasses(tmp_path):
    small = dict(downsample_times=1, num_stacks=1, stage_channels=(8, 8), stage_blocks=(1, 1), feat_channel=4)
    saved = HourglassNet(**small)
    torch.save(saved.state_dict(), tmp_path / 'hourglass.pth')
    model = HourglassNet(**small, pretrained=str(tmp_path / 'hourglass.pth'))
    model.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), saved.parameters()))
    with pytest.raises(ValueError, match='either pretrained or init_cfg'):
        HourglassNet(**small, pretrained='a.pth', init_cfg=dict(type='Xavier', layer='Conv2d'))


def test_a_checkpoint_for_vgg(tmp_path):
    saved = SSDVGG(11)
    torch.save(saved.state_dict(), tmp_path / 'vgg.pth')
    model = SSDVGG(11)
    model.init_weights(str(tmp_path / 'vgg.pth'))
    assert torch.equal(model.features[0].weight, saved.features[0].weight)


def test_a_res_layer_takes_what_toolbox_2_passes():
    model = ResNet(depth=18)
    switched_off = dict(style='pytorch', avg_down=False, with_cp=False, conv_cfg=None, dcn=None, plugins=None)
    stage = model.make_res_layer(block=BasicBlock, inplanes=4, planes=4, num_blocks=1, **switched_off)
    assert stage(torch.rand(1, 4, 8, 8)).shape == (1, 4, 8, 8)
    assert stage[0].norm1 is stage[0].bn1 and stage[0].norm2 is stage[0].bn2
