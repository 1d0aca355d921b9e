"""Multi-head attention."""

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import FFN, MLP, MultiheadAttention
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


def test_positions_of_one_image_serve_all_of_a_batch():
    attention = MultiheadAttention(8, 2, batch_first=True).eval()
    query = torch.randn(3, 5, 8)
    positions = torch.randn(1, 5, 8)
    out = attention(query, query_pos=positions)
    torch.testing.assert_close(out, attention(query, query_pos=positions.expand(3, 5, 8)))


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
