"""FPN: which convolutions there are, what flows where, and every way to make extra levels."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.models.necks import FPN, PAFPN

CHANNELS = [4, 8, 12, 16]


def maps(sizes=(16, 8, 4, 2), channels=CHANNELS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, s, s, generator=generator) for c, s in zip(channels, sizes)]


def test_default_pathway():
    neck, inputs = FPN(CHANNELS, 6, num_outs=4), maps()
    laterals = [conv(x) for conv, x in zip(neck.lateral_convs, inputs)]
    expected = [laterals[3]]
    for lateral in reversed(laterals[:3]):
        expected.insert(0, lateral + F.interpolate(expected[0], scale_factor=2, mode='nearest'))
    outs = neck(inputs)
    assert isinstance(outs, tuple)
    for out, conv, merged in zip(outs, neck.fpn_convs, expected):
        torch.testing.assert_close(out, conv(merged))
    assert [tuple(o.shape) for o in outs] == [(2, 6, s, s) for s in (16, 8, 4, 2)]


def test_maps_may_be_averaged():
    neck, inputs = FPN(CHANNELS, 6, num_outs=4, fuse_type='avg'), maps()
    expected = neck.lateral_convs[3](inputs[3])
    for level in (2, 1, 0):
        expected = (neck.lateral_convs[level](inputs[level]) + F.interpolate(expected, scale_factor=2)) / 2
    torch.testing.assert_close(neck(inputs)[0], neck.fpn_convs[0](expected))
    with pytest.raises(ValueError, match=r"fuse_type must be one of \('sum', 'avg'\), got 'max'"):
        FPN(CHANNELS, 6, num_outs=4, fuse_type='max')


def test_levels_that_nothing_is_learned_from_have_gradients():
    neck = FPN(CHANNELS, 6, num_outs=5, add_extra_convs='on_output', force_grad_on_level=True)
    outs = neck(maps())
    outs[2].sum().backward()
    grads = [conv.conv.weight.grad for conv in neck.fpn_convs]
    assert [bool(grad.any()) for grad in grads] == [False, False, True, False, False]
    plain = FPN(CHANNELS, 6, num_outs=5, add_extra_convs='on_output')
    plain.load_state_dict(neck.state_dict())
    for ours, expected in zip(outs, plain(maps())):
        torch.testing.assert_close(ours, expected)


def test_every_map_of_the_second_pathway_has_a_gradient_too():
    neck = PAFPN(CHANNELS, 6, num_outs=5, force_grad_on_level=True)
    neck(maps())[0].sum().backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())
    assert not neck.pafpn_convs[2].conv.weight.grad.any()


def test_inputs_are_not_changed():
    inputs = maps()
    copies = [x.clone() for x in inputs]
    FPN(CHANNELS, 6, num_outs=5, add_extra_convs=True, relu_before_extra_convs=True)(inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, copies))


def test_parameter_names():
    state = FPN(CHANNELS, 6, num_outs=5, start_level=1, add_extra_convs='on_input').state_dict()
    expected = {f'lateral_convs.{i}.conv.weight': (6, c, 1, 1) for i, c in enumerate(CHANNELS[1:])}
    expected |= {f'fpn_convs.{i}.conv.weight': (6, 6, 3, 3) for i in range(3)}
    expected |= {'fpn_convs.3.conv.weight': (6, 16, 3, 3), 'fpn_convs.4.conv.weight': (6, 6, 3, 3)}
    expected |= {key.replace('weight', 'bias'): (6,) for key in expected}
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def test_extra_levels_by_pooling():
    neck, inputs = FPN(CHANNELS, 6, num_outs=6), maps((32, 16, 8, 4))
    outs = neck(inputs)
    assert len(neck.fpn_convs) == 4
    assert torch.equal(outs[4], outs[3][..., ::2, ::2])
    assert torch.equal(outs[5], outs[3][..., ::4, ::4])


@pytest.mark.parametrize('mode', [True, 'on_input', 'on_lateral', 'on_output'])
@pytest.mark.parametrize('relu', [False, True])
def test_extra_levels_by_convolution(mode, relu):
    neck = FPN(CHANNELS, 6, num_outs=6, add_extra_convs=mode, relu_before_extra_convs=relu)
    inputs = maps((32, 16, 8, 4))
    outs = neck(inputs)
    lateral = neck.lateral_convs[3](inputs[3])
    source = {'on_lateral': lateral, 'on_output': neck.fpn_convs[3](lateral)}.get(mode, inputs[3])
    first = neck.fpn_convs[4](source)
    second = neck.fpn_convs[5](F.relu(first) if relu else first)
    torch.testing.assert_close(outs[4], first)
    torch.testing.assert_close(outs[5], second)
    assert neck.fpn_convs[4].conv.stride == (2, 2)
    assert neck.fpn_convs[4].conv.in_channels == (6 if mode in ('on_lateral', 'on_output') else 16)
    assert bool((first < 0).any())  # else ReLU would not show


@pytest.mark.parametrize(
    'start, end, num_outs, sizes',
    [(0, -1, 4, [16, 8, 4, 2]), (1, -1, 3, [8, 4, 2]), (1, 2, 2, [8, 4]), (0, 0, 1, [16]), (1, 3, 4, [8, 4, 2, 1])],
)
def test_start_and_end_level(start, end, num_outs, sizes):
    neck = FPN(CHANNELS, 6, num_outs=num_outs, start_level=start, end_level=end)
    outs = neck(maps())
    assert [o.shape[-1] for o in outs] == sizes
    assert [conv.conv.in_channels for conv in neck.lateral_convs] == CHANNELS[start:][: len(neck.lateral_convs)]


def test_maps_outside_the_range_do_not_matter():
    neck, inputs = FPN(CHANNELS, 6, num_outs=2, start_level=1, end_level=2), maps()
    other = [torch.zeros_like(inputs[0]), *inputs[1:3], torch.zeros_like(inputs[3])]
    for a, b in zip(neck(inputs), neck(other)):
        assert torch.equal(a, b)


def test_odd_sizes_follow_the_finer_map():
    outs = FPN(CHANNELS, 6, num_outs=4)(maps((13, 7, 4, 2)))
    assert [o.shape[-1] for o in outs] == [13, 7, 4, 2]


def test_upsample_by_scale_factor():
    plain, inputs = FPN(CHANNELS, 6, num_outs=4), maps()
    scaled = FPN(CHANNELS, 6, num_outs=4, upsample_cfg=dict(scale_factor=2))
    scaled.load_state_dict(plain.state_dict())
    for a, b in zip(plain(inputs), scaled(inputs)):
        torch.testing.assert_close(a, b)
    with pytest.raises(RuntimeError, match='size'):
        scaled(maps((13, 7, 4, 2)))  # 4 doubled is not 7


def test_upsample_mode():
    cfg = dict(mode='bilinear', align_corners=False)
    neck, inputs = FPN([4, 8], 6, num_outs=2, upsample_cfg=cfg), maps((8, 4), (4, 8))
    low = neck.lateral_convs[0](inputs[0]) + F.interpolate(neck.lateral_convs[1](inputs[1]), size=(8, 8), **cfg)
    torch.testing.assert_close(neck(inputs)[0], neck.fpn_convs[0](low))
    assert cfg == dict(mode='bilinear', align_corners=False)


@pytest.mark.parametrize('no_norm', [False, True])
def test_norm_and_activation(no_norm):
    neck = FPN(CHANNELS, 6, num_outs=4, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'), no_norm_on_lateral=no_norm)
    state = neck.state_dict()
    assert ('lateral_convs.0.bn.weight' in state) == (not no_norm)
    assert ('lateral_convs.0.conv.bias' in state) == no_norm
    assert 'fpn_convs.0.bn.weight' in state and 'fpn_convs.0.conv.bias' not in state
    assert all(float(o.detach().min()) == 0 for o in neck(maps()))


def test_init_is_xavier():
    torch.manual_seed(0)
    neck = FPN([64], 64, num_outs=1)
    neck.init_weights()
    weight = neck.fpn_convs[0].conv.weight
    bound = (6 / (64 * 9 * 2)) ** 0.5
    assert 0.99 * bound < float(weight.detach().abs().max()) <= bound
    assert float(neck.fpn_convs[0].conv.bias.detach().abs().max()) == 0


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_outs=3), r'num_outs=3 does not fit 4 backbone levels'),
        (dict(num_outs=3, start_level=1, end_level=2), 'extra levels need end_level=-1'),
        (dict(num_outs=1, start_level=1, end_level=2), 'num_outs=1 does not fit 2 backbone levels'),
        (dict(num_outs=5, add_extra_convs='on_top'), r"one of \('on_input', 'on_lateral', 'on_output'\), got 'on_top'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        FPN(CHANNELS, 6, **settings)


@pytest.mark.parametrize('count', [3, 5])
def test_wrong_number_of_maps(count):
    inputs = maps((16, 8, 4, 2, 1), [*CHANNELS, 16])[:count]
    with pytest.raises(ValueError, match=f'built for 4 maps, got {count}'):
        FPN(CHANNELS, 6, num_outs=4)(inputs)


def test_every_parameter_gets_a_gradient():
    neck = FPN(CHANNELS, 6, num_outs=6, add_extra_convs='on_output')
    sum(o.square().sum() for o in neck(maps((32, 16, 8, 4)))).backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in neck.parameters())
    assert all(isinstance(m, nn.ModuleList) for m in (neck.lateral_convs, neck.fpn_convs))


@pytest.mark.parametrize(
    'upsample_cfg', [dict(mod='nearest'), dict(mode='neares'), dict(mode='bilinear', scale_factor='2')]
)
def test_upsampling_that_torch_refuses_is_refused_before_the_first_image(upsample_cfg):
    with pytest.raises(ValueError, match='torch refuses upsample_cfg='):
        FPN([2, 3], 4, 2, upsample_cfg=upsample_cfg)


class Halved(nn.Module):
    """A top block: each level is the mean of 2 x 2 pixels of the one before."""

    def __init__(self, num_levels=2, in_feature='p5'):
        super().__init__()
        self.num_levels, self.in_feature = num_levels, in_feature

    def forward(self, x):
        levels = [F.avg_pool2d(x, 2, ceil_mode=True)]
        levels.append(F.avg_pool2d(levels[0], 2, ceil_mode=True))
        return levels


@pytest.mark.parametrize('in_feature', ['p5', 'res5'])
def test_a_module_of_the_users_own_makes_the_top_levels(in_feature):
    neck, inputs = FPN(CHANNELS, 6, num_outs=6, top_block=Halved(in_feature=in_feature)), maps()
    outs = neck(inputs)
    expected = F.avg_pool2d(inputs[3] if in_feature == 'res5' else outs[3], 2)
    torch.testing.assert_close(outs[4], expected)
    assert [x.shape[-1] for x in outs] == [16, 8, 4, 2, 1, 1]
    assert not any(name.startswith('top_block') for name in FPN(CHANNELS, 6, 4).state_dict())


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_outs=5, top_block=Halved()), 'the 1 levels that num_outs leaves to it, but Halved.num_levels is 2'),
        (dict(num_outs=6, top_block=nn.Identity()), 'but Identity has no num_levels'),
        (dict(num_outs=6, top_block=Halved(), add_extra_convs=True), 'either top_block or add_extra_convs'),
    ],
)
def test_a_top_block_that_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FPN(CHANNELS, 6, **settings)


def test_a_top_block_that_returns_another_number_of_maps_is_named():
    neck = FPN(CHANNELS, 6, num_outs=5, top_block=Halved(num_levels=1))
    with pytest.raises(ValueError, match='top_block Halved must return a list of 1 maps, got 2 maps'):
        neck(maps())
