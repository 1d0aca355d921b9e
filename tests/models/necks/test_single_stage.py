"""Necks of SSD, YOLOv3, YOLOX, RTMDet and CenterNet, and the channel mapper."""

import doctest
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.necks import YOLOXPAFPN, ChannelMapper, CSPNeXtPAFPN, CTResNetNeck, SSDNeck, YOLOV3Neck
from mmdetlike.models.necks.ct_resnet_neck import bilinear_kernel
from mmdetlike.registry import MODELS
from tests.models.backbone_checks import shapes


def maps(channels, sides):
    torch.manual_seed(0)
    return [torch.randn(2, c, side, side) for c, side in zip(channels, sides)]


@pytest.mark.parametrize('name', ['channel_mapper', 'ssd_neck'])
def test_docstring_examples(name):
    module = import_module(f'mmdetlike.models.necks.{name}')
    results = doctest.testmod(module, extraglobs=dict(torch=torch))
    assert results.attempted >= 1 and results.failed == 0


NECKS = {
    'SSDNeck': (SSDNeck((4, 8), (4, 8, 6, 4), (2, 1), (1, 0)), (4, 8), (8, 6)),
    'YOLOV3Neck': (YOLOV3Neck(2, (8, 4), (6, 2)), (4, 8), (8, 4)),
    'YOLOXPAFPN': (YOLOXPAFPN((4, 8, 16), 6, num_csp_blocks=1), (4, 8, 16), (8, 4, 2)),
    'CSPNeXtPAFPN': (CSPNeXtPAFPN((4, 8, 16), 6, num_csp_blocks=1), (4, 8, 16), (8, 4, 2)),
    'ChannelMapper': (ChannelMapper((4, 8), 6, num_outs=4), (4, 8), (8, 4)),
}


@pytest.mark.parametrize('name', NECKS)
def test_every_parameter_gets_a_gradient(name):
    neck, channels, sides = NECKS[name]
    sum(out.square().sum() for out in neck.train()(maps(channels, sides))).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in neck.parameters())


@pytest.mark.parametrize('name', NECKS)
def test_wrong_number_of_maps(name):
    neck, channels, sides = NECKS[name]
    with pytest.raises(ValueError, match=rf'{name} was built for {len(channels)} maps, got 1'):
        neck(maps(channels, sides)[:1])


# -- ChannelMapper ---------------------------------------------------------------------------------------------------


def test_channel_mapper_extra_levels_follow_each_other():
    neck, inputs = ChannelMapper([4, 8], 6, kernel_size=1, num_outs=4), maps((4, 8), (9, 5))
    outs = neck(inputs)
    assert shapes(outs) == [(6, 9, 9), (6, 5, 5), (6, 3, 3), (6, 2, 2)]
    torch.testing.assert_close(outs[2], neck.extra_convs[0](inputs[1]))
    torch.testing.assert_close(outs[3], neck.extra_convs[1](outs[2]))
    assert neck.extra_convs[0].conv.kernel_size == (3, 3) and neck.convs[0].conv.kernel_size == (1, 1)


def test_channel_mapper_parts():
    plain = ChannelMapper([4], 8)
    assert plain.convs[0].with_bias and plain.convs[0].with_activation and len(plain.extra_convs) == 0
    normed = ChannelMapper([4], 8, norm_cfg=dict(type='GN', num_groups=4), act_cfg=None)
    assert set(normed.state_dict()) == {'convs.0.conv.weight', 'convs.0.gn.weight', 'convs.0.gn.bias'}
    assert not ChannelMapper([4], 8, bias=False).convs[0].with_bias
    with pytest.raises(ValueError, match='num_outs must be at least 2, the number of backbone maps, got 1'):
        ChannelMapper([4, 8], 6, num_outs=1)


# -- SSD -------------------------------------------------------------------------------------------------------------


def test_ssd_neck_of_512_pixels():
    channels = (512, 1024, 512, 256, 256, 256, 256)
    neck = SSDNeck(channels[:2], channels, (2, 2, 2, 2, 1), (1, 1, 1, 1, 1), last_kernel_size=4)
    with torch.no_grad():
        outs = neck([torch.rand(1, 512, 64, 64), torch.rand(1, 1024, 32, 32)])
    assert shapes(outs) == list(zip(channels, sides := (64, 32, 16, 8, 4, 2, 1), sides))


def test_ssd_neck_normalises_the_first_map():
    neck, inputs = SSDNeck((4, 8), (4, 8, 6), (2,), (1,)), maps((4, 8), (6, 3))
    outs = neck(inputs)
    torch.testing.assert_close(outs[0].norm(dim=1), torch.full((2, 6, 6), 20.0))
    assert torch.equal(outs[1], inputs[1])
    torch.testing.assert_close(outs[2], neck.extra_layers[0](inputs[1]))
    plain = SSDNeck((4, 8), (4, 8, 6), (2,), (1,), l2_norm_scale=None)(inputs)
    assert torch.equal(plain[0], inputs[0])
    single = SSDNeck((4,), (4, 6), (2,), (1,))
    torch.testing.assert_close(single(inputs[:1])[1], single.extra_layers[0](inputs[0]))


def test_ssd_neck_init_keeps_the_scale():
    neck = SSDNeck((4, 8), (4, 8, 6), (2,), (1,), l2_norm_scale=7)
    neck.init_weights()
    assert neck.l2_norm.weight.tolist() == [7] * 4
    assert float(neck.extra_layers[0][0].conv.bias.detach().abs().sum()) == 0


def test_ssd_neck_depthwise():
    neck = SSDNeck((4,), (4, 6), (2,), (1,), use_depthwise=True, norm_cfg=dict(type='BN'))
    assert neck.extra_layers[0][1].depthwise_conv.conv.groups == 3
    assert shapes(neck(maps((4,), (6,)))) == [(4, 6, 6), (6, 3, 3)]


@pytest.mark.parametrize(
    'settings, message',
    [
        (((4, 8), (4, 6, 8), (2,), (1,)), r'out_channels must be \[4, 8\] and more, got \[4, 6, 8\]'),
        (((4, 8), (4, 8), (), ()), r'out_channels must be \[4, 8\] and more'),
        (((4,), (4, 6), (2, 2), (1,)), r'1 extra levels need as many level_strides and level_paddings'),
    ],
)
def test_ssd_neck_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SSDNeck(*settings)


# -- YOLOv3 ----------------------------------------------------------------------------------------------------------


def test_yolo_neck_goes_from_coarse_to_fine():
    neck = YOLOV3Neck(3, (16, 8, 4), (8, 6, 2)).eval()
    inputs = maps((4, 8, 16), (8, 4, 2))
    outs = neck(inputs)
    assert shapes(outs) == [(8, 2, 2), (6, 4, 4), (2, 8, 8)]
    torch.testing.assert_close(outs[0], neck.detect1(inputs[2]))
    larger = neck.conv1(outs[0]).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(outs[1], neck.detect2(torch.cat([larger, inputs[1]], 1)))
    with pytest.raises(ValueError, match=r'num_scales=3 needs as many in_channels and out_channels'):
        YOLOV3Neck(3, (16, 8), (8, 6))


# -- YOLOX and RTMDet ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('neck_type', [YOLOXPAFPN, CSPNeXtPAFPN])
def test_csp_pafpn_against_its_definition(neck_type):
    neck, inputs = neck_type((4, 8, 16), 6, num_csp_blocks=1).eval(), maps((4, 8, 16), (8, 4, 2))
    up = lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
    top = neck.reduce_layers[0](inputs[2])
    middle = neck.reduce_layers[1](neck.top_down_blocks[0](torch.cat([up(top), inputs[1]], 1)))
    fine = neck.top_down_blocks[1](torch.cat([up(middle), inputs[0]], 1))
    middle = neck.bottom_up_blocks[0](torch.cat([neck.downsamples[0](fine), middle], 1))
    coarse = neck.bottom_up_blocks[1](torch.cat([neck.downsamples[1](middle), top], 1))
    expected = [conv(x) for conv, x in zip(neck.out_convs, (fine, middle, coarse))]
    for ours, wanted in zip(neck(inputs), expected):
        torch.testing.assert_close(ours, wanted)
    assert shapes(expected) == [(6, 8, 8), (6, 4, 4), (6, 2, 2)]


def test_csp_pafpn_settings():
    yolox = YOLOXPAFPN((4, 8), 6, num_csp_blocks=2, use_depthwise=True)
    assert yolox.downsamples[0].depthwise_conv.conv.groups == 4
    assert yolox.out_convs[0].conv.kernel_size == (1, 1)
    assert len(yolox.top_down_blocks[0].blocks) == 2 and not yolox.top_down_blocks[0].blocks[0].add_identity
    rtmdet = CSPNeXtPAFPN((4, 8), 6, use_depthwise=True, expand_ratio=1.0)
    assert rtmdet.out_convs[0].depthwise_conv.conv.kernel_size == (3, 3)
    assert rtmdet.top_down_blocks[0].main_conv.conv.out_channels == 4
    assert YOLOXPAFPN((4, 8), 6, upsample_cfg=dict(scale_factor=2, mode='bilinear')).upsample.mode == 'bilinear'


# -- CenterNet -------------------------------------------------------------------------------------------------------


def test_ct_resnet_neck():
    neck = CTResNetNeck(8, (6, 4), (4, 4), use_dcn=False)
    inputs = maps((4, 8), (6, 3))
    (out,) = neck(inputs)
    assert shapes([out]) == [(4, 12, 12)]
    assert torch.equal(out, neck([inputs[1]])[0])
    kinds = [nn.Conv2d, nn.ConvTranspose2d] * 2
    assert all(isinstance(layer.conv, kind) for layer, kind in zip(neck.deconv_layers, kinds, strict=True))
    with pytest.raises(ValueError, match='must have the same length'):
        CTResNetNeck(8, (6, 4), (4,), use_dcn=False)


def test_ct_resnet_neck_upsamples_bilinearly_at_first():
    neck = CTResNetNeck(4, (3,), (4,), use_dcn=False)
    neck.init_weights()
    weight = neck.deconv_layers[1].conv.weight
    x = torch.rand(1, 1, 5, 5)
    upsampled = F.conv_transpose2d(x, weight[2:3, :1], stride=2, padding=1)
    expected = F.interpolate(x, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(upsampled[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    assert bilinear_kernel(4)[0].tolist() == [0.0625, 0.1875, 0.1875, 0.0625]


@pytest.mark.parametrize(
    'neck',
    [
        dict(type='YOLOXPAFPN', in_channels=[2, 4], out_channels=4, num_csp_blocks=1),
        dict(type='YOLOV3Neck', num_scales=2, in_channels=[4, 2], out_channels=[4, 4]),
    ],
)
def test_images_that_are_no_multiple_of_the_stride_are_refused(neck):
    maps = [torch.rand(1, 2, 5, 8), torch.rand(1, 4, 3, 4)]
    message = r'joins each feature map.* one of \(6, 8\) does not fit one of \(5, 8\): .* pad_size_divisor'
    with pytest.raises(ConfigError, match=message):
        MODELS.build(neck)(maps)
