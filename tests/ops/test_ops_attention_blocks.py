"""Context, non-local and generalized attention blocks: numbers, gradients, layers by config, bad input."""

import copy

import pytest
import torch
import torch.nn.functional as F

from mmdetlike_ops import (
    ContextBlock,
    DeformConv2dPack,
    FrozenBatchNorm2d,
    GeneralizedAttention,
    NaiveSyncBatchNorm,
    NonLocal1d,
    NonLocal2d,
    NonLocal3d,
    SyncBatchNorm,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randomised(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer.double()


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


def test_non_local_by_dimension():
    """A line or a plane is a volume of one pixel along the other axes."""
    volume = randomised(NonLocal3d(6, norm_cfg=dict(type='BN3d'))).eval()
    x = torch.randn(2, 6, 9, dtype=torch.double)
    for cls, norm, shape in ((NonLocal1d, 'BN1d', (9,)), (NonLocal2d, 'BN', (3, 3))):
        layer = cls(6, norm_cfg=dict(type=norm)).double().eval()
        layer.load_state_dict({
            key: value.view(layer.state_dict()[key].shape) for key, value in volume.state_dict().items()
        })  # fmt: skip
        expected = volume(x.view(2, 6, *[1] * (3 - len(shape)), *shape)).view(2, 6, *shape)
        torch.testing.assert_close(layer(x.view(2, 6, *shape)), expected)
        assert cls(6, sub_sample=True)(torch.randn(2, 6, *[4] * len(shape))).shape == (2, 6, *[4] * len(shape))


@pytest.mark.parametrize('norm_cfg, name, cls', [
    (dict(type='BN'), 'bn', torch.nn.BatchNorm2d),
    (dict(type='SyncBN', momentum=0.2), 'bn', SyncBatchNorm),
    (dict(type='FrozenBN', eps=1e-3), 'bn', FrozenBatchNorm2d),
    (dict(type='GN', num_groups=2), 'gn', torch.nn.GroupNorm),
    (dict(type='IN', affine=True), 'in', torch.nn.InstanceNorm2d),
    (dict(type='IN'), 'in', torch.nn.InstanceNorm2d),
    (dict(type=NaiveSyncBatchNorm, stats_mode='N'), 'bn', NaiveSyncBatchNorm),
    (dict(type=torch.nn.Identity), 'norm_layer', torch.nn.Identity),
], ids=str)  # fmt: skip
def test_norm_layers(norm_cfg, name, cls):
    layer = NonLocal2d(8, norm_cfg=dict(norm_cfg, requires_grad=False))
    norm = getattr(layer.conv_out, name)
    assert type(norm) is cls
    assert layer.conv_out.norm is norm
    assert layer.conv_out.conv.bias is None
    assert not any(parameter.requires_grad for parameter in norm.parameters())
    assert all(getattr(norm, key) == value for key, value in norm_cfg.items() if key != 'type')
    x = torch.randn(2, 8, 4, 5)
    if getattr(norm, 'weight', None) is not None:
        assert torch.equal(layer(x), x)


def test_convolutions_by_class():
    layer = NonLocal2d(8, conv_cfg=dict(type=DeformConv2dPack, bias=False, deform_groups=2))
    assert all(type(part.conv) is DeformConv2dPack for part in (layer.g, layer.theta, layer.phi, layer.conv_out))
    assert layer.g.conv.deform_groups == 2
    assert not layer.conv_out.conv.weight.any()
    assert isinstance(NonLocal2d(8, conv_cfg=dict(type='Conv')).g.conv, torch.nn.Conv2d)


@pytest.mark.parametrize('zeros_init', [True, False])
def test_weights_start_again(zeros_init):
    layer = randomised(NonLocal2d(8, norm_cfg=dict(type='BN'), sub_sample=True))
    layer.init_weights(zeros_init=zeros_init)
    assert (layer.conv_out.bn.weight.abs().sum() == 0) == zeros_init
    assert 0 < layer.g[0].conv.weight.std() < 0.02
    assert not layer.phi[0].conv.bias.any()


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


# All


LAYERS = {
    **{f'context {kind}': ContextBlock(8, 0.5, kind, ('channel_mul', 'channel_add')) for kind in ('att', 'avg')},
    **{
        f'non-local {mode}': NonLocal2d(8, mode=mode, sub_sample=True, norm_cfg=dict(type='GN', num_groups=2))
        for mode in ('gaussian', 'embedded_gaussian', 'dot_product', 'concatenation')
    },
    'attention': GeneralizedAttention(8, num_heads=2),
    'attention near': GeneralizedAttention(8, num_heads=2, spatial_range=1, q_stride=2),
}
each_layer = pytest.mark.parametrize('name', LAYERS)


def example(name, dtype=torch.double):
    """A layer that is no identity, and an input."""
    return randomised(copy.deepcopy(LAYERS[name])).to(dtype), torch.randn(2, 8, 4, 5).to(dtype).requires_grad_()


def out_and_gradients(layer, x, run=None):
    out = run(x) if run is not None else layer(x)
    upstream = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out)
    return [out.detach(), *torch.autograd.grad(out, [x, *layer.parameters()], upstream)]


def assert_near(actual, expected, tolerance):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a.to(b), b, rtol=tolerance, atol=tolerance * max(b.abs().max().item(), 1))


@each_layer
def test_gradients(name):
    layer, x = example(name)
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values)), x)

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *parameters.values()), fast_mode=True)


@each_layer
def test_compiles(name):
    layer, x = example(name)
    fast = torch.compile(layer, fullgraph=True, backend='aot_eager')
    assert_near(out_and_gradients(layer, x, fast), out_and_gradients(layer, x), 1e-9)
    torch._dynamo.reset()


@each_layer
def test_exports(name):
    layer, x = example(name)
    program = torch.export.export(layer, (x.detach(),))
    torch.testing.assert_close(program.module()(x), layer(x))


@each_layer
def test_layouts(name):
    layer, x = example(name)
    expected = out_and_gradients(layer, x)
    for strided in (x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert_near(out_and_gradients(layer, strided.detach().requires_grad_()), expected, 1e-9)


@each_layer
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype):
    layer, x = example(name, dtype)
    out = layer(x)
    assert out.dtype == dtype
    expected = layer.float()(x.float())
    assert_near([out.float()], [expected], 16 * torch.finfo(dtype).eps)


@each_layer
def test_autocast(name):
    layer, x = example(name, torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(x)
    assert_near([out], [layer(x)], 0.05)


@each_layer
def test_an_empty_batch(name):
    layer, x = example(name)
    empty = x[:0].detach().requires_grad_()
    out, *grads = out_and_gradients(layer, empty)
    assert out.shape == (0, 8, 4, 5)
    assert grads[0].shape == out.shape
    assert not any(grad.any() for grad in grads)


@each_layer
@pytest.mark.parametrize('wrong, error, words', [
    ([1.0], TypeError, 'x is a list, a tensor is expected'),
    (torch.zeros(1, 8, 4, 5).long(), TypeError, 'x has dtype torch.int64, a floating dtype'),
    (torch.zeros(8, 4, 5), ValueError, r'x has shape \(8, 4, 5\), \(n, 8, h, w\) is expected'),
    (torch.zeros(1, 9, 4, 5), ValueError, r'x has shape \(1, 9, 4, 5\), \(n, 8, h, w\) is expected'),
])  # fmt: skip
def test_bad_input(name, wrong, error, words):
    with pytest.raises(error, match=f'{type(LAYERS[name]).__name__}: {words}'):
        LAYERS[name](wrong)


@pytest.mark.parametrize('make, error, words', [
    (lambda: ContextBlock(8, 0.5, 'max'), ValueError, "pooling_type is 'max', one of"),
    (lambda: ContextBlock(8, 0.5, 'att', ('add',)), ValueError, r"fusion_types is \('add',\), a list out of"),
    (lambda: ContextBlock(8, 0.5, 'att', 'channel_add'), ValueError, "fusion_types is 'channel_add'"),
    (lambda: ContextBlock(8, 0.5, 'att', ()), ValueError, r'fusion_types is \(\)'),
    (lambda: ContextBlock(8, 0.1), ValueError, 'ratio is 0.1, at least 1 / 8'),
    (lambda: NonLocal2d(8, mode='dot'), ValueError, "NonLocal2d: mode is 'dot', one of"),
    (lambda: NonLocal1d(8, mode='dot'), ValueError, "NonLocal1d: mode is 'dot', one of"),
    (lambda: NonLocal2d(0), ValueError, 'in_channels is 0, a positive number'),
    (lambda: NonLocal2d(8, 0), ValueError, 'reduction is 0, a positive number'),
    (lambda: NonLocal2d(8, norm_cfg='BN'), TypeError, "norm_cfg is 'BN', a dict with the key 'type'"),
    (lambda: NonLocal2d(8, norm_cfg={}), TypeError, "norm_cfg is {}, a dict with the key 'type'"),
    (lambda: NonLocal2d(8, norm_cfg=dict(type='LN')), ValueError, "type of norm_cfg is 'LN', a class or one of BN"),
    (lambda: NonLocal2d(8, norm_cfg=dict(type='GN')), ValueError, 'has not the arguments of GroupNorm: .*num_groups'),
    (lambda: NonLocal2d(8, norm_cfg=dict(type='GN', num_groups=3)), ValueError, 'GroupNorm: .*divisible'),
    (lambda: NonLocal2d(8, norm_cfg=dict(type='BN', epsilon=1)), ValueError, "BatchNorm2d: .*'epsilon'"),
    (lambda: NonLocal2d(8, conv_cfg=dict(type='DCN')), ValueError, "type of conv_cfg is 'DCN', a class or one of Conv"),
    (lambda: NonLocal1d(8)(torch.zeros(1, 8, 3, 3)), ValueError, r'x has shape \(1, 8, 3, 3\), \(n, 8, w\)'),
    (lambda: GeneralizedAttention(8), ValueError, 'num_heads is 9, at most 8 is expected'),
    (lambda: GeneralizedAttention(8, num_heads=0), ValueError, 'num_heads is 0, a positive number'),
    (lambda: GeneralizedAttention(8, -1, 2, kv_stride=0), ValueError, 'kv_stride is 0, a positive number'),
    (lambda: GeneralizedAttention(6, -1, 2), ValueError, 'position_embedding_dim is 6, a multiple of 4'),
    *(
        (lambda kind=kind: GeneralizedAttention(16, attention_type=kind), ValueError, f"type is '{kind}', four digits")
        for kind in ('0000', '111', '1121', '')
    ),
])  # fmt: skip
def test_bad_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.gpu
@each_layer
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_cuda(cuda, name, dtype):
    layer, x = example(name, dtype)
    expected = out_and_gradients(layer.float(), x.float().detach().requires_grad_())
    actual = out_and_gradients(layer.to(cuda, dtype), x.detach().to(cuda).requires_grad_())
    tolerance = 1e-3 if dtype == torch.float32 else 32 * torch.finfo(dtype).eps
    assert_near([grad.cpu() for grad in actual], expected, tolerance)


@torch.no_grad()
def test_rows_and_columns_of_square_maps_are_swapped_along_y():
    # as in the implementation that GRoIE's weights were trained with (its recording holds us to the numbers)
    layer = randomised(
        GeneralizedAttention(12, num_heads=3, attention_type='0100', kv_stride=2, position_embedding_dim=16)
    )
    x = torch.randn(1, 12, 4, 4, dtype=torch.double)
    query = torch.randn(1, 3, 4, 4, 4, dtype=torch.double)
    assert torch.equal(layer._queries_along_y(query), query.transpose(2, 3))
    assert torch.equal(layer._queries_along_y(query[:, :, :3]), query[:, :, :3])
    symmetric = x + x.transpose(2, 3)
    attended = attend_by_definition(layer, symmetric[0], layer.q_stride, layer.kv_stride)
    expected = layer.gamma * layer.proj_conv(attended[None]) + symmetric
    torch.testing.assert_close(layer(symmetric), expected)
    assert not torch.allclose(
        layer(x)[0], (layer.gamma * layer.proj_conv(attend_by_definition(layer, x[0], 1, 2)[None]) + x)[0]
    )
