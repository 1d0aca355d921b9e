"""Plugins that a config inserts into a backbone: context, non-local and generalized attention blocks."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ContextBlock, GeneralizedAttention, NonLocal2d, build_plugin_layer


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randomised(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer.double()


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


# Context block


def test_context_block_by_definition():
    layer = randomised(ContextBlock(8, 0.5, 'att', ('channel_add', 'channel_mul')))
    x = torch.randn(2, 8, 3, 4, dtype=torch.double)
    for image, out in zip(x, layer(x)):
        logits = torch.einsum('chw,c->hw', image, layer.conv_mask.weight[0, :, 0, 0]) + layer.conv_mask.bias
        weights = logits.exp() / logits.exp().sum()
        context = (image * weights).sum((1, 2))[None, :, None, None]
        expected = image * layer.channel_mul_conv(context)[0].sigmoid() + layer.channel_add_conv(context)[0]
        torch.testing.assert_close(out, expected)


def test_context_block_pools_the_mean():
    layer = randomised(ContextBlock(8, 0.25, 'avg'))
    x = torch.randn(2, 8, 3, 4, dtype=torch.double)
    torch.testing.assert_close(layer(x), x + layer.channel_add_conv(x.mean((2, 3), keepdim=True)))
    assert list(layer.state_dict()) == [
        f'channel_add_conv.{i}.{kind}' for i in (0, 1, 3) for kind in ('weight', 'bias')
    ]  # fmt: skip


def test_context_block_layouts_and_empty_batches():
    layer = randomised(ContextBlock(8, 0.5))
    x = torch.randn(2, 8, 3, 4, dtype=torch.double)
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), layer(x))
    assert layer(x[:0]).shape == (0, 8, 3, 4)


@pytest.mark.parametrize('arguments, words', [
    ({'pooling_type': 'max'}, "pooling_type must be 'att' or 'avg', but got 'max'"),
    ({'fusion_types': ('add',)}, "fusion_types must list 'channel_add' or 'channel_mul'"),
    ({'fusion_types': 'channel_add'}, 'fusion_types must list'),
    ({'fusion_types': ()}, 'must not be empty'),
])  # fmt: skip
def test_context_block_bad_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        ContextBlock(8, 0.5, **arguments)


# Non-local block


def non_local_by_definition(layer, x, pool):
    hidden = layer.inter_channels

    def embed(name):
        convs = getattr(layer, name)
        return (convs[0] if layer.sub_sample else convs)(x)

    theta = x if layer.mode == 'gaussian' else layer.theta(x)
    phi, g = pool(x if layer.mode == 'gaussian' else embed('phi')), pool(embed('g'))
    out = torch.zeros(len(x), hidden, *x.shape[2:], dtype=x.dtype)
    for n in range(len(x)):
        keys, values = phi[n].flatten(1).T, g[n].flatten(1).T
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                query = theta[n, :, i, j]
                if layer.mode == 'concatenation':
                    pairs = torch.cat([query.expand(len(keys), -1), keys], dim=1)
                    weights = (pairs @ layer.concat_project.conv.weight.flatten()).clamp(min=0) / len(keys)
                elif layer.mode == 'dot_product':
                    weights = keys @ query / len(keys)
                else:
                    scaled = layer.mode == 'embedded_gaussian' and layer.use_scale
                    weights = (keys @ query / (hidden**0.5 if scaled else 1)).softmax(0)
                out[n, :, i, j] = weights @ values
    return x + layer.conv_out(out)


@pytest.mark.parametrize('sub_sample', [False, True])
@pytest.mark.parametrize('mode', ['gaussian', 'embedded_gaussian', 'dot_product', 'concatenation'])
def test_non_local_by_definition(mode, sub_sample):
    layer = randomised(NonLocal2d(6, reduction=2, mode=mode, sub_sample=sub_sample))
    x = torch.randn(2, 6, 4, 6, dtype=torch.double)
    expected = non_local_by_definition(layer, x, lambda maps: F.max_pool2d(maps, 2) if sub_sample else maps)
    torch.testing.assert_close(layer(x), expected)
    assert layer(x[:0]).shape == (0, 6, 4, 6)


def test_non_local_without_scale_and_with_norm():
    layer = randomised(NonLocal2d(6, reduction=1, use_scale=False, norm_cfg=dict(type='BN'))).eval()
    x = torch.randn(1, 6, 4, 3, dtype=torch.double)
    torch.testing.assert_close(layer(x), non_local_by_definition(layer, x, lambda maps: maps))


def test_non_local_parameters_and_start():
    keys = set(NonLocal2d(8, reduction=2).state_dict())
    assert keys == {f'{conv}.conv.{kind}' for conv in ('g', 'theta', 'phi', 'conv_out') for kind in ('weight', 'bias')}
    assert 'g.0.conv.weight' in NonLocal2d(8, sub_sample=True).state_dict()
    assert NonLocal2d(8, mode='concatenation').concat_project.conv.weight.shape == (1, 8, 1, 1)
    assert NonLocal2d(8).conv_out.conv.weight.abs().sum() == 0
    assert NonLocal2d(8, zeros_init=False).conv_out.conv.weight.std() < 0.02
    assert NonLocal2d(8, norm_cfg=dict(type='BN')).conv_out.bn.weight.abs().sum() == 0
    with pytest.raises(ConfigError, match=r"mode must be one of .*, but got 'dot'"):
        NonLocal2d(8, mode='dot')


# Generalized attention


def position_embedding(offset, dim):
    angles = torch.tensor([offset / 1000 ** (4 * i / dim) for i in range(dim // 4)], dtype=torch.double)
    return torch.cat([angles.sin(), angles.cos()])


def attend_by_definition(layer, x, q_stride, kv_stride):
    """What the pixels of one image attend to, by head, query and key, in loops."""
    content, query_position, key_only, position_only = layer.attention_type
    heads, dim = layer.num_heads, layer.in_channels // layer.num_heads
    queries, keys = x[:, ::q_stride, ::q_stride], x[:, ::kv_stride, ::kv_stride]

    def head(vector, m):
        return vector[m * dim : (m + 1) * dim]

    def project(layer_name, pixel):
        return getattr(layer, layer_name).weight.flatten(1) @ pixel

    out = torch.zeros(heads * dim, *queries.shape[1:], dtype=x.dtype)
    for m in range(heads):
        for i in range(queries.shape[1]):
            for j in range(queries.shape[2]):
                energies, values = [], []
                for k in range(keys.shape[1]):
                    for l in range(keys.shape[2]):
                        dy, dx = i * q_stride - k * kv_stride, j * q_stride - l * kv_stride
                        near_y = -layer.spatial_range - kv_stride < -dy <= layer.spatial_range
                        near_x = -layer.spatial_range - kv_stride < -dx <= layer.spatial_range
                        if layer.spatial_range >= 0 and not (near_y and near_x):
                            continue
                        energy = 0
                        if content:
                            query, key = project('query_conv', queries[:, i, j]), project('key_conv', keys[:, k, l])
                            energy += head(query, m) @ head(key, m)
                        if key_only:
                            energy += head(layer.appr_bias, m) @ head(project('key_conv', keys[:, k, l]), m)
                        for along, offset in (('appr_geom_fc_x', dx), ('appr_geom_fc_y', dy)):
                            if query_position or position_only:
                                embedding = position_embedding(offset, layer.position_embedding_dim)
                                feature = head(project(along, embedding), m) / 2**0.5
                            if query_position:
                                energy += head(project('query_conv', queries[:, i, j]), m) @ feature
                            if position_only:
                                energy += head(layer.geom_bias, m) @ feature
                        energies.append(energy)
                        values.append(head(project('value_conv', keys[:, k, l]), m))
                out[m * dim : (m + 1) * dim, i, j] = torch.stack(energies).softmax(0) @ torch.stack(values)
    return out


@pytest.mark.parametrize('settings', [
    dict(attention_type='1111', kv_stride=2),
    dict(attention_type='1000', kv_stride=1),
    dict(attention_type='0100', kv_stride=2, position_embedding_dim=16),
    dict(attention_type='0010', kv_stride=2),
    dict(attention_type='0001', kv_stride=2),
    dict(attention_type='1010', q_stride=2),
    dict(attention_type='0011', kv_stride=1, q_stride=2),
    dict(attention_type='1111', spatial_range=1, kv_stride=2),
    dict(attention_type='0010', spatial_range=0, kv_stride=2),
], ids=str)  # fmt: skip
@torch.no_grad()
def test_generalized_attention_by_definition(settings):
    layer = randomised(GeneralizedAttention(12, num_heads=3, **settings))
    x = torch.randn(2, 12, 4, 5, dtype=torch.double)
    attended = torch.stack([attend_by_definition(layer, image, layer.q_stride, layer.kv_stride) for image in x])
    attended = layer.proj_conv(attended)
    if layer.q_stride > 1:
        attended = F.interpolate(attended, size=(4, 5), mode='bilinear', align_corners=False)
    torch.testing.assert_close(layer(x), x + layer.gamma * attended)
    assert layer(x[:0]).shape == (0, 12, 4, 5)


def test_generalized_attention_parameters():
    shapes = {key: tuple(value.shape) for key, value in GeneralizedAttention(20, num_heads=3).state_dict().items()}
    assert shapes == {
        'appr_bias': (18,), 'geom_bias': (18,), 'gamma': (1,),
        'query_conv.weight': (18, 20, 1, 1), 'key_conv.weight': (18, 20, 1, 1), 'value_conv.weight': (18, 20, 1, 1),
        'appr_geom_fc_x.weight': (18, 10), 'appr_geom_fc_y.weight': (18, 10),
        'proj_conv.weight': (20, 18, 1, 1), 'proj_conv.bias': (20,),
    }  # fmt: skip
    keys = set(GeneralizedAttention(16, num_heads=8, attention_type='0010').state_dict())
    assert keys == {'appr_bias', 'gamma', 'key_conv.weight', 'value_conv.weight', 'proj_conv.weight', 'proj_conv.bias'}


@pytest.mark.parametrize('attention_type', ['0000', '111', '1121', ''])
def test_generalized_attention_bad_type(attention_type):
    with pytest.raises(ConfigError, match=f"attention_type must be four digits .* but got '{attention_type}'"):
        GeneralizedAttention(16, num_heads=8, attention_type=attention_type)


@pytest.mark.parametrize('layer', [
    ContextBlock(8, 0.5), NonLocal2d(8), GeneralizedAttention(8, num_heads=2)
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_gradients(layer):
    x = torch.randn(1, 8, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(randomised(layer), x)
