"""RFP and the backbones it feeds back into: starting values, small maps, pyramids that begin later, and errors."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import DetectoRS_ResNet, DetectoRS_ResNeXt
from mmdetlike.models.necks import ASPP, FPN, RFP
from mmdetlike_ops import SAConv2d

CHANNELS = [8, 16, 32, 64]
SWITCHABLE = dict(
    type='DetectoRS_ResNet',
    depth=50,
    base_channels=2,
    conv_cfg=dict(type='ConvAWS'),
    sac=dict(type='SAC', use_deform=True),
    stage_with_sac=(False, True, True, True),
)
NECK = dict(in_channels=CHANNELS, out_channels=8, num_outs=5, rfp_steps=2, aspp_out_channels=2)


def neck(**changes) -> RFP:
    torch.manual_seed(0)
    return RFP(**dict(dict(NECK, rfp_backbone=dict(SWITCHABLE, rfp_inplanes=8)), **changes))


def inputs(size: int = 64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, size, size, generator=generator)
    strides = (4, 8, 16, 32)
    return [
        images,
        *(torch.randn(1, c, size // s, size // s, generator=generator) for c, s in zip(CHANNELS, strides)),
    ]


def test_mean_of_both_pyramids_at_the_start():
    model = neck()
    model.init_weights()
    pyramid = FPN(CHANNELS, 8, num_outs=5)
    pyramid.load_state_dict(model.state_dict(), strict=False)
    images, *maps = inputs()
    # without feedback the second backbone is a plain one
    again = pyramid(model.rfp_modules[0](images))
    for out, first, second in zip(model([images, *maps]), pyramid(maps), again, strict=True):
        torch.testing.assert_close(out, (first + second) / 2)


def test_initial_layers_start_plain():
    model = neck()
    model.init_weights()
    backbone = model.rfp_modules[0]
    layer = backbone.layer2[0].conv2
    assert isinstance(layer, SAConv2d) and not isinstance(backbone.layer1[0].conv2, SAConv2d)
    assert not layer.switch.weight.any() and layer.switch.bias.tolist() == [1]
    assert not layer.offset_s.weight.any() and not layer.weight_diff.any()
    assert not backbone.layer3[0].rfp_conv.weight.any()
    assert backbone.layer1[0].rfp_conv is None and backbone.layer3[1].rfp_conv is None


def test_feedback_reaches_its_stage_of_a_pyramid_that_begins_later():
    model = neck(start_level=1, num_outs=3)
    backbone = model.rfp_modules[0]
    seen = {}
    for i in range(1, 4):
        block = getattr(backbone, f'layer{i + 1}')[0]
        block.rfp_conv.register_forward_pre_hook(lambda _, args, i=i: seen.update({i: args[0].shape[2]}))
    assert [x.shape[2] for x in model(inputs())] == [8, 4, 2]
    assert seen == {1: 8, 2: 4, 3: 2}


def test_aspp_sees_the_mean():
    layer = ASPP(1, 1, dilations=(1, 2, 1))
    x = torch.rand(1, 1, 4, 4)
    out = layer(x)
    mean = layer.aspp[2](x.mean((2, 3), keepdim=True)).relu()
    assert out.shape == (1, 3, 4, 4)
    torch.testing.assert_close(out[:, 2:], mean.expand(1, 1, 4, 4))


@pytest.mark.parametrize('size', [1, 2, 3])
def test_switchable_convolution_of_small_maps(size):
    conv = SAConv2d(2, 2, 3, padding=1, use_deform=True)
    assert conv(torch.rand(1, 2, size, 5)).shape == (1, 2, size, 5)


def test_grouped_blocks():
    backbone = DetectoRS_ResNeXt(
        groups=4,
        base_width=2,
        depth=50,
        base_channels=8,
        **{name: SWITCHABLE[name] for name in ('conv_cfg', 'sac', 'stage_with_sac')},
    )
    assert backbone.layer2[0].conv2.groups == 4 and isinstance(backbone.layer2[0].conv2, SAConv2d)
    assert [x.shape[1] for x in backbone(torch.rand(1, 3, 32, 32))] == [32, 64, 128, 256]


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match=r'rfp_inplanes=8 .* got DetectoRS_ResNet with rfp_inplanes=None'):
        neck(rfp_backbone=SWITCHABLE)
    with pytest.raises(ConfigError, match=r'a flag for each stage of the backbone, got \(True,\)'):
        DetectoRS_ResNet(depth=50, stage_with_sac=[True])
    with pytest.raises(ValueError, match='built for 5 maps, got 4'):
        neck()(inputs()[1:])
