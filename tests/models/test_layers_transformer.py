"""Attention, feed-forward networks, positional encodings and patches."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import (
    FFN,
    MLP,
    AdaptivePadding,
    ConvUpsample,
    DynamicConv,
    LearnedPositionalEncoding,
    MultiheadAttention,
    NormedConv2d,
    NormedLinear,
    PatchEmbed,
    PatchMerging,
    ShiftWindowMSA,
    SinePositionalEncoding,
    coordinate_to_encoding,
    inverse_sigmoid,
    nchw_to_nlc,
    nlc_to_nchw,
)
from mmdetlike.registry import MODELS

B, L, S, C, HEADS = 2, 5, 7, 32, 4


def _attention(batch_first: bool = True, **kwargs) -> tuple[MultiheadAttention, nn.MultiheadAttention]:
    """Ours, and PyTorch's with the same parameters."""
    torch.manual_seed(0)
    ours = MultiheadAttention(C, HEADS, batch_first=batch_first, **kwargs).eval()
    if ours.attn.in_proj_bias is not None:
        nn.init.normal_(ours.attn.in_proj_bias)
    theirs = nn.MultiheadAttention(C, HEADS, batch_first=batch_first, bias=kwargs.get('bias', True)).eval()
    theirs.load_state_dict(ours.attn.state_dict())
    return ours, theirs


def _inputs(batch_first: bool = True) -> list[torch.Tensor]:
    """Query, key, value and positions of query and key."""
    tensors = [torch.randn(B, n, C) for n in (L, S, S, L, S)]
    return tensors if batch_first else [t.transpose(0, 1) for t in tensors]


PADDING = torch.tensor([[False] * 5 + [True] * 2, [False] * 7])
ATTN_MASKS = {
    'none': None,
    'shared': torch.arange(L)[:, None] + 2 < torch.arange(S),
    'per_head': (torch.rand(B * HEADS, L, S, generator=torch.Generator().manual_seed(0)) > 0.7).index_fill(
        2, torch.tensor([0]), False
    ),
    'added': torch.randn(B * HEADS, L, S, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.filterwarnings('ignore:Support for mismatched')
@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('padding', [None, PADDING], ids=['all', 'padded'])
@pytest.mark.parametrize('attn_mask', ATTN_MASKS.values(), ids=ATTN_MASKS.keys())
def test_attention_equals_torch(batch_first, padding, attn_mask):
    ours, theirs = _attention(batch_first)
    q, k, v, q_pos, k_pos = _inputs(batch_first)
    out = ours(q, k, v, query_pos=q_pos, key_pos=k_pos, attn_mask=attn_mask, key_padding_mask=padding)
    expected = theirs(q + q_pos, k + k_pos, v, attn_mask=attn_mask, key_padding_mask=padding)[0]
    torch.testing.assert_close(out, q + expected, rtol=1e-4, atol=1e-5)


def test_float_padding_mask_is_added():
    ours, theirs = _attention()
    q, k, v, *_ = _inputs()
    added = torch.randn(B, S)
    torch.testing.assert_close(
        ours(q, k, v, key_padding_mask=added), q + theirs(q, k, v, key_padding_mask=added)[0], rtol=1e-4, atol=1e-5
    )


def test_attention_defaults_of_key_value_identity_and_positions():
    ours, theirs = _attention()
    q, k, v, q_pos, _ = _inputs()
    close = dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(q), q + theirs(q, q, q)[0], **close)
    torch.testing.assert_close(ours(q, k), q + theirs(q, k, k)[0], **close)
    torch.testing.assert_close(ours(q, query_pos=q_pos), q + theirs(q + q_pos, q + q_pos, q)[0], **close)
    # positions of the query are no positions of keys in another number
    torch.testing.assert_close(ours(q, k, query_pos=q_pos), q + theirs(q + q_pos, k, k)[0], **close)
    torch.testing.assert_close(ours(q, k, v, identity=q_pos), q_pos + theirs(q, k, v)[0], **close)
    # keys that are the query, but with positions of their own
    other = torch.randn_like(q)
    expected = q + theirs(q + q_pos, q + other, q)[0]
    torch.testing.assert_close(ours(q, q, q, query_pos=q_pos, key_pos=other), expected, **close)


def test_attention_without_bias_and_gradients():
    ours, theirs = _attention(bias=False)
    q, k, v, *_ = _inputs()
    (ours(q, k, v) ** 2).sum().backward()
    ((q + theirs(q, k, v)[0]) ** 2).sum().backward()
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.attn.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('mask', [torch.bool, torch.float32])
def test_query_that_may_look_nowhere_gets_zeros(mask):
    ours, _ = _attention()
    q, k, v, *_ = _inputs()
    hidden = torch.zeros(L, S, dtype=torch.bool)
    hidden[2] = True
    attn_mask = hidden if mask == torch.bool else torch.zeros(L, S).masked_fill(hidden, float('-inf'))
    q.requires_grad_()
    out = ours(q, k, v, attn_mask=attn_mask)
    torch.testing.assert_close(out[:, 2], q[:, 2] + ours.attn.out_proj.bias)
    out.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in (q, *ours.parameters()))
    everything = ours(q, k, v, key_padding_mask=torch.ones(B, S, dtype=torch.bool))
    torch.testing.assert_close(everything, q + ours.attn.out_proj.bias)


def test_attention_in_half_precision_and_autocast():
    ours, _ = _attention()
    q, k, v, *_ = _inputs()
    exact = ours(q, k, v, attn_mask=ATTN_MASKS['added'], key_padding_mask=PADDING)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(
            ours(q, k, v, attn_mask=ATTN_MASKS['added'], key_padding_mask=PADDING), exact, rtol=0.05, atol=0.05
        )
    half = ours.to(torch.bfloat16)(
        q.bfloat16(), k.bfloat16(), v.bfloat16(), attn_mask=ATTN_MASKS['added'], key_padding_mask=PADDING
    )
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.05)


def test_attention_drops_only_in_training():
    ours = MultiheadAttention(C, HEADS, dropout=0.5)
    assert ours.attn.dropout == 0.5 and ours.dropout_layer.p == 0.5
    q = torch.randn(L, B, C)
    assert not torch.equal(ours.train()(q), ours(q))
    assert torch.equal(ours.eval()(q), ours(q))
    dropped = MultiheadAttention(C, HEADS, dropout_layer=dict(type='Dropout', drop_prob=1.0)).train()
    torch.testing.assert_close(dropped(q), q)


def test_attention_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match='embed_dims must be a multiple of num_heads, but got 30 and 4'):
        MultiheadAttention(30, 4)
    ours, _ = _attention()
    q = torch.randn(B, L, C)
    with pytest.raises(ValueError, match=r'attn_mask must be .* but got \(3, 5, 5\)'):
        ours(q, attn_mask=torch.zeros(3, L, L, dtype=torch.bool))
    with pytest.raises(ValueError, match=r'key_padding_mask must be \(batch, keys\), but got \(5,\)'):
        ours(q, key_padding_mask=torch.zeros(5, dtype=torch.bool))


def test_names_that_checkpoints_have():
    names = ['attn.in_proj_weight', 'attn.in_proj_bias', 'attn.out_proj.weight', 'attn.out_proj.bias']
    assert list(MultiheadAttention(C, HEADS).state_dict()) == names
    layers = ['layers.0.0.weight', 'layers.0.0.bias', 'layers.1.weight', 'layers.1.bias']
    assert list(FFN(8, 16).state_dict()) == layers
    assert 'gamma2.weight' in FFN(8, 16, layer_scale_init_value=0.1).state_dict()
    assert [tuple(v.shape) for v in MLP(4, 8, 2, 3).state_dict().values()] == [(8, 4), (8,), (8, 8), (8,), (2, 8), (2,)]
    for name in ('MultiheadAttention', 'FFN', 'SinePositionalEncoding', 'LearnedPositionalEncoding', 'NormedLinear'):
        assert name in MODELS


def test_ffn():
    ffn, x, other = FFN(8, 16, num_fcs=3).eval(), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    plain = ffn.layers[2](F.relu(ffn.layers[1][0](F.relu(ffn.layers[0][0](x)))))
    torch.testing.assert_close(ffn(x), x + plain)
    torch.testing.assert_close(ffn(x, identity=other), other + plain)
    ffn.add_identity = False
    torch.testing.assert_close(ffn(x), plain)
    scaled = FFN(8, 16, num_fcs=3, layer_scale_init_value=0.5, add_identity=False)
    scaled.load_state_dict(ffn.state_dict(), strict=False)
    torch.testing.assert_close(scaled(x), 0.5 * plain)
    with pytest.raises(ConfigError, match='num_fcs must be at least 2, but got 1'):
        FFN(num_fcs=1)


def test_mlp():
    mlp, x = MLP(4, 8, 2, 3), torch.randn(5, 4)
    expected = mlp.layers[2](F.relu(mlp.layers[1](F.relu(mlp.layers[0](x)))))
    torch.testing.assert_close(mlp(x), expected)


def test_dynamic_conv_uses_each_regions_own_kernels():
    conv = DynamicConv(6, 3, input_feat_shape=2).eval()
    embedding, feature = torch.randn(4, 6), torch.randn(4, 6, 2, 2)
    params = conv.dynamic_layer(embedding)
    rows = []
    for i in range(4):
        x = feature[i].flatten(1).t() @ params[i, :18].view(6, 3)
        x = F.relu(conv.norm_in(x)) @ params[i, 18:].view(3, 6)
        rows.append(F.relu(conv.norm_out(x)))
    torch.testing.assert_close(
        conv(embedding, feature), F.relu(conv.fc_norm(conv.fc_layer(torch.stack(rows).flatten(1))))
    )
    conv.with_proj = False
    torch.testing.assert_close(conv(embedding, feature), torch.stack(rows))
    assert conv(embedding[:0], feature[:0]).shape == (0, 4, 6)


# -- positions -------------------------------------------------------------------------------------------------------


def test_sine_encoding_by_hand():
    encoding = SinePositionalEncoding(4, temperature=100)(torch.zeros(1, 2, 3, dtype=torch.bool))
    assert encoding.shape == (1, 8, 2, 3)
    y, x = 2.0, 3.0  # of the last pixel, counted from 1
    expected = [math.sin(y), math.cos(y), math.sin(y / 10), math.cos(y / 10)]
    expected += [math.sin(x), math.cos(x), math.sin(x / 10), math.cos(x / 10)]
    assert encoding[0, :, 1, 2].tolist() == pytest.approx(expected, abs=1e-6)


def test_sine_encoding_normalises_by_the_image_within_the_map():
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[1, 2:], mask[1, :, 3:] = True, True
    encode = SinePositionalEncoding(8, normalize=True, offset=-0.5)
    encoding = encode(mask)
    torch.testing.assert_close(encoding[1:, :, :2, :3], encode(torch.zeros(1, 2, 3)))
    y = (1 - 0.5) / (4 + 1e-6) * 2 * math.pi
    assert float(encoding[0, 0, 0, 0]) == pytest.approx(math.sin(y), abs=1e-6)
    assert 'offset=-0.5' in repr(encode)


def test_sine_encoding_by_input():
    encode = SinePositionalEncoding(4, normalize=True)
    expected = encode(torch.zeros(2, 3, 5, dtype=torch.bool))
    torch.testing.assert_close(encode(mask=None, input=torch.rand(2, 7, 3, 5)), expected)
    with pytest.raises(ValueError, match='needs a mask or an input'):
        encode(None)


def test_learned_encoding():
    encode = LearnedPositionalEncoding(3, row_num_embed=4, col_num_embed=5)
    encode.init_weights()
    assert float(encode.row_embed.weight.detach().min()) >= 0  # uniform in [0, 1), not normal
    encoding = encode(torch.zeros(2, 4, 5))
    assert encoding.shape == (2, 6, 4, 5)
    expected = torch.cat([encode.col_embed.weight[3], encode.row_embed.weight[1]])
    torch.testing.assert_close(encoding[1, :, 1, 3], expected)
    with pytest.raises(ValueError, match='5x5 needs as many embeddings, but there are row_num_embed=4'):
        encode(torch.zeros(1, 5, 5))


def test_coordinate_encoding_puts_y_first():
    boxes = torch.rand(2, 3, 4)
    encoding = coordinate_to_encoding(boxes, num_feats=6, temperature=20)
    assert encoding.shape == (2, 3, 24)
    torch.testing.assert_close(encoding[..., :12], coordinate_to_encoding(boxes[..., :2], num_feats=6, temperature=20))
    torch.testing.assert_close(encoding[..., 0], (boxes[..., 1] * 2 * math.pi).sin())
    torch.testing.assert_close(encoding[..., 7], (boxes[..., 0] * 2 * math.pi).cos())
    torch.testing.assert_close(encoding[..., 20], (boxes[..., 3] * 2 * math.pi / 20 ** (2 / 6)).sin())
    with pytest.raises(ValueError, match=r'must be \(..., 2\) or \(..., 4\), but got \(2, 3\)'):
        coordinate_to_encoding(torch.rand(2, 3))


def test_inverse_sigmoid():
    x = torch.linspace(0.001, 0.999, 50)
    torch.testing.assert_close(inverse_sigmoid(x).sigmoid(), x)
    assert inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0])).tolist() == pytest.approx(
        [math.log(1e-5)] * 2 + [-math.log(1e-5)] * 2
    )


# -- patches ---------------------------------------------------------------------------------------------------------


def test_sequences_and_maps():
    x = torch.randn(1, 6, 4)
    image = nlc_to_nchw(x, (2, 3))
    assert image.shape == (1, 4, 2, 3)
    assert image[0, :, 1, 0].tolist() == x[0, 3].tolist()
    assert image.is_contiguous(memory_format=torch.channels_last) and image.stride(0) == 24
    assert nchw_to_nlc(image).data_ptr() == x.data_ptr()
    torch.testing.assert_close(nchw_to_nlc(image), x)
    with pytest.raises(ValueError, match=r'x must be \(N, 3 \* 3, C\), but got \(1, 6, 4\)'):
        nlc_to_nchw(x, (3, 3))


SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.sampled_from(['corner', 'same']))
def test_adaptive_padding_covers_every_pixel_and_no_more(size, kernel, stride, dilation, where):
    pad = AdaptivePadding(kernel, stride, dilation, where)
    x = torch.ones(1, 1, *size)
    out = pad(x)
    assert out.sum() == x.sum()
    for padded, length in zip(out.shape[2:], size):
        windows = -(-length // stride)
        reach = (windows - 1) * stride + dilation * (kernel - 1) + 1
        assert padded == max(reach, length)
        assert (padded - dilation * (kernel - 1) - 1) // stride + 1 >= windows
    rows = pad.get_pad_shape(size)[0]
    top = rows // 2 if where == 'same' else 0
    assert float(out[0, 0, :top].sum()) == 0 and float(out[0, 0, top].sum()) == size[1]


def test_adaptive_padding_refuses():
    with pytest.raises(ConfigError, match="padding must be 'same' or 'corner', but got 'centre'"):
        AdaptivePadding(padding='centre')


@pytest.mark.parametrize('padding', ['corner', 'same', 1])
@pytest.mark.parametrize('size', [(16, 12), (13, 10)])
def test_patch_embed_says_its_size(padding, size):
    embed = PatchEmbed(3, 8, kernel_size=4, stride=3, padding=padding, norm_cfg=dict(type='LN'), input_size=size)
    x = torch.rand(2, 3, *size)
    out, out_size = embed(x)
    assert out.shape == (2, out_size[0] * out_size[1], 8)
    assert embed.init_out_size == out_size == embed.output_size(size)
    padded = x if padding == 1 else embed.adaptive_padding(x)
    assert embed.init_input_size == padded.shape[2:]
    expected = F.conv2d(padded, embed.projection.weight, embed.projection.bias, stride=3, padding=int(padding == 1))
    torch.testing.assert_close(out, embed.norm(expected.flatten(2).transpose(1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('size', [(4, 6), (5, 7)])
@pytest.mark.parametrize('kwargs', [{}, dict(kernel_size=3, stride=2, padding=1), dict(stride=1, dilation=2)])
def test_patch_merging_is_unfold_norm_linear(size, kwargs):
    merge = PatchMerging(3, 5, **kwargs)
    x = torch.randn(2, size[0] * size[1], 3)
    out, out_size = merge(x, size)
    image = x.transpose(1, 2).reshape(2, 3, *size)
    image = merge.adaptive_padding(image) if merge.adaptive_padding else image
    columns = F.unfold(image, merge.kernel_size, merge.dilation, merge.padding, merge.stride).transpose(1, 2)
    torch.testing.assert_close(out, merge.reduction(merge.norm(columns)))
    assert out.shape[1] == out_size[0] * out_size[1]


def test_window_attention_sees_its_window_only():
    torch.manual_seed(0)
    attention = ShiftWindowMSA(8, 2, window_size=4, shift_size=2).eval()
    nn.init.normal_(attention.w_msa.relative_position_bias_table)
    x = torch.randn(1, 64, 8)
    changed = x.clone()
    changed[0, 0] += 1  # the pixel in the corner, whose shifted window is 2x2
    moved = (attention(x, (8, 8)) - attention(changed, (8, 8))).abs().sum(-1).view(8, 8) > 1e-5
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(moved, expected)
    attention.shift_size = 0
    moved = (attention(x, (8, 8)) - attention(changed, (8, 8))).abs().sum(-1).view(8, 8) > 1e-5
    expected[:4, :4] = True
    assert torch.equal(moved, expected)
    with pytest.raises(ConfigError, match=r'shift_size must be in \[0, window_size=4\), but got 4'):
        ShiftWindowMSA(8, 2, window_size=4, shift_size=4)


def test_window_attention_bias_belongs_to_offsets():
    """With a table that favours one offset by far, each pixel copies the value of its neighbour there."""
    attention = ShiftWindowMSA(4, 1, window_size=3).eval()
    msa = attention.w_msa
    nn.init.zeros_(msa.qkv.weight[:8])
    msa.qkv.weight.data[:8], msa.qkv.bias.data[:] = 0, 0
    msa.qkv.weight.data[8:], msa.proj.weight.data, msa.proj.bias.data[:] = torch.eye(4), torch.eye(4), 0
    # the key one row above and one column to the left: offset (1, 1) of (query - key), of -2..2 each
    msa.relative_position_bias_table.data[(1 + 2) * 5 + (1 + 2)] = 100.0
    x = torch.randn(1, 9, 4)
    out = attention(x, (3, 3)).view(3, 3, 4)
    torch.testing.assert_close(out[1:, 1:], x.view(3, 3, 4)[:2, :2])


# -- others ----------------------------------------------------------------------------------------------------------


def test_normed_layers_are_cosines():
    linear, x = NormedLinear(4, 3, tempearture=10), torch.randn(5, 4)
    assert float(linear.weight.detach().std()) < 0.03 and not linear.bias.any()
    expected = 10 * F.cosine_similarity(x[:, None], linear.weight[None], dim=-1)
    torch.testing.assert_close(linear(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(linear(3 * x), linear(x), rtol=1e-4, atol=1e-4)
    conv, image = NormedConv2d(4, 3, 1, bias=False), torch.randn(2, 4, 5, 5)
    expected = 20 * F.cosine_similarity(image[:, None], conv.weight[None], dim=2)
    torch.testing.assert_close(conv(image), expected, rtol=1e-4, atol=1e-4)
    over_kernel = NormedConv2d(4, 3, 3, padding=1, norm_over_kernel=True)
    over_kernel.weight.data *= 7
    weight = over_kernel.weight / over_kernel.weight.flatten(1).norm(dim=1)[:, None, None, None]
    expected = F.conv2d(20 * F.normalize(image, dim=1), weight, over_kernel.bias, padding=1)
    torch.testing.assert_close(over_kernel(image), expected, rtol=1e-3, atol=1e-4)


def test_conv_upsample():
    layer = ConvUpsample(3, 4, num_layers=3, num_upsample=2, norm_cfg=dict(type='GN', num_groups=2))
    assert layer(torch.rand(1, 3, 5, 6)).shape == (1, 4, 20, 24)
    assert ConvUpsample(3, 4, num_layers=2, num_upsample=0)(torch.rand(1, 3, 5, 6)).shape == (1, 4, 5, 6)
    assert list(layer.state_dict())[:2] == ['conv.0.conv.weight', 'conv.0.gn.weight']
    with pytest.raises(ValueError, match='num_upsample=2 must not be more than num_layers=1'):
        ConvUpsample(3, 4, num_layers=1, num_upsample=2)
