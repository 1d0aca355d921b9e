import pytest
import torch
import torch.nn.functional as F

from mmdetlike_ops import (
    ConvAWS2d,
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    SAConv2d,
    deform_conv2d,
    modulated_deform_conv2d,
)


def disturb(layer, names, scale=0.1):
    """Moves parameters from where they start, so that they matter."""
    for name, parameter in layer.named_parameters():
        if name.split('.')[0] in names:
            torch.nn.init.normal_(parameter, std=scale)


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 6, 11, 12)


def test_deform_conv_is_the_function(x):
    layer = DeformConv2d(6, 4, (3, 2), stride=(1, 2), padding=(1, 0), dilation=2, groups=2, deform_groups=3)
    offset = torch.randn(2, 36, 9, 5)
    expected = deform_conv2d(x, offset, layer.weight, (1, 2), (1, 0), 2, 2, 3)
    assert torch.equal(layer(x, offset), expected)
    assert layer.weight.shape == (4, 3, 3, 2)
    assert 'deform_groups=3' in repr(layer)


def test_modulated_deform_conv_is_the_function(x):
    layer = ModulatedDeformConv2d(6, 4, 3, padding=1, groups=2, deform_groups=3)
    torch.nn.init.normal_(layer.bias)
    offset, mask = torch.randn(2, 54, 11, 12), torch.rand(2, 27, 11, 12)
    expected = modulated_deform_conv2d(x, offset, mask, layer.weight, layer.bias, 1, 1, 1, 2, 3)
    assert torch.equal(layer(x, offset, mask), expected)
    assert ModulatedDeformConv2d(6, 4, 3, bias=False).bias is None


def test_packs_start_on_the_regular_grid(x):
    plain, modulated = DeformConv2dPack(6, 4, 3, padding=1), ModulatedDeformConv2dPack(6, 4, 3, padding=1)
    torch.testing.assert_close(plain(x), F.conv2d(x, plain.weight, padding=1))
    torch.testing.assert_close(modulated(x), F.conv2d(x, modulated.weight, padding=1) / 2)
    for layer in (plain, modulated):
        disturb(layer, ['conv_offset'])
        layer.init_weights()
        assert not any(p.any() for p in layer.conv_offset.parameters())


def test_packs_predict_what_the_functions_take(x):
    plain = DeformConv2dPack(6, 4, 3, 2, 1, 1, 2, 3)
    modulated = ModulatedDeformConv2dPack(6, 4, 3, 2, 1, 1, 2, 3)
    for layer in (plain, modulated):
        disturb(layer, ['conv_offset'])
    expected = deform_conv2d(x, plain.conv_offset(x), plain.weight, 2, 1, 1, 2, 3)
    assert torch.equal(plain(x), expected)
    predicted = modulated.conv_offset(x)
    expected = modulated_deform_conv2d(
        x, predicted[:, :54], predicted[:, 54:].sigmoid(), modulated.weight, modulated.bias, 2, 1, 1, 2, 3
    )
    assert torch.equal(modulated(x), expected)


def test_state_dict_keys():
    offset = ['conv_offset.weight', 'conv_offset.bias']
    plain, modulated = DeformConv2dPack(8, 4, 3, deform_groups=2), ModulatedDeformConv2dPack(8, 4, 3, deform_groups=2)
    assert list(plain.state_dict()) == ['weight', *offset]
    assert list(modulated.state_dict()) == ['weight', 'bias', *offset]
    assert plain.conv_offset.weight.shape == (36, 8, 3, 3)
    assert modulated.conv_offset.weight.shape == (54, 8, 3, 3)


def test_gradients_reach_every_parameter(x):
    switchable = SAConv2d(6, 4, 3, padding=1, bias=False, use_deform=True)
    for layer in (DeformConv2dPack(6, 4, 3), ModulatedDeformConv2dPack(6, 4, 3), switchable):
        disturb(layer, ['conv_offset', 'offset_s', 'offset_l', 'switch', 'weight_diff', 'pre_context'])
        layer(x).square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


@pytest.mark.parametrize('layer', [DeformConv2d, DeformConv2dPack, ModulatedDeformConv2d, ModulatedDeformConv2dPack])
@pytest.mark.parametrize('arguments, words', [
    ({'groups': 4}, 'groups is 4, a divisor of in_channels 6'),
    ({'groups': 3}, 'groups is 3, a divisor of out_channels 4'),
    ({'deform_groups': 5}, 'deform_groups is 5, a divisor of in_channels 6'),
])  # fmt: skip
def test_groups_must_divide(layer, arguments, words):
    with pytest.raises(ValueError, match=words):
        layer(6, 4, 3, **arguments)


def test_no_bias_without_modulation():
    with pytest.raises(ValueError, match='DeformConv2dPack: bias is True, only False is possible'):
        DeformConv2dPack(6, 4, 3, bias=True)


def test_autocast(x):
    for layer in (DeformConv2dPack(6, 4, 3, padding=1), ModulatedDeformConv2dPack(6, 4, 3, padding=1)):
        with torch.autocast('cpu', torch.bfloat16):
            out = layer(x.bfloat16())
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), layer(x), rtol=0.05, atol=0.05)


def test_weight_standardisation(x):
    layer = ConvAWS2d(6, 4, 3, padding=1)
    torch.nn.init.normal_(layer.weight, mean=2, std=3)
    weight = layer.standardized_weight().flatten(1)
    torch.testing.assert_close(weight.mean(1), torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(weight.std(1), torch.ones(4), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.standardized_weight(), layer.bias, padding=1))


def test_standardisation_keeps_the_filters_of_a_plain_checkpoint(x):
    plain, layer = torch.nn.Conv2d(6, 4, 3), ConvAWS2d(6, 4, 3)
    layer.load_state_dict(plain.state_dict())
    torch.testing.assert_close(layer(x), plain(x))
    again = ConvAWS2d(6, 4, 3)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    with pytest.raises(RuntimeError, match='weight_beta'):
        again.load_state_dict({k: v for k, v in layer.state_dict().items() if k != 'weight_beta'})


@pytest.mark.parametrize('use_deform', [False, True])
def test_switchable_convolution_starts_as_a_convolution(x, use_deform):
    layer = SAConv2d(6, 4, 3, stride=2, padding=1, use_deform=use_deform)
    expected = F.conv2d(x, layer.standardized_weight(), None, 2, 1)
    torch.testing.assert_close(layer(x), expected)
    torch.nn.init.constant_(layer.switch.bias, 0)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.standardized_weight(), None, 2, 3, 3))
    keys = {'weight', 'bias', 'weight_diff', 'weight_gamma', 'weight_beta'}
    layers = ['switch', 'pre_context', 'post_context', *(['offset_s', 'offset_l'] if use_deform else [])]
    assert set(layer.state_dict()) == keys | {f'{name}.{end}' for name in layers for end in ('weight', 'bias')}


def test_switchable_convolution_step_by_step(x):
    layer = SAConv2d(6, 4, 3, padding=1, use_deform=True)
    disturb(layer, ['switch', 'weight_diff', 'pre_context', 'post_context', 'offset_s', 'offset_l'])
    x1 = x + layer.pre_context(x.mean((2, 3), keepdim=True))
    near = F.pad(x1, (2, 2, 2, 2), mode='reflect').unfold(2, 5, 1).unfold(3, 5, 1).mean((4, 5))
    weight = layer.standardized_weight()
    small = deform_conv2d(x1, layer.offset_s(near), weight, 1, 1, 1)
    large = deform_conv2d(x1, layer.offset_l(near), weight + layer.weight_diff, 1, 3, 3)
    share = layer.switch(near)
    blend = share * small + (1 - share) * large
    expected = blend + layer.post_context(blend.mean((2, 3), keepdim=True))
    torch.testing.assert_close(layer(x), expected)
