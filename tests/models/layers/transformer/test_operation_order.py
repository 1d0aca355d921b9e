"""DETR's transformer as toolbox 2.x builds it, against torch's layers."""

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import DetrTransformerDecoderLayer, build_transformer

ATTENTION = dict(type='MultiheadAttention', embed_dims=8, num_heads=2)
POST_NORM = ('self_attn', 'norm', 'cross_attn', 'norm', 'ffn', 'norm')
PRE_NORM = ('norm', 'self_attn', 'norm', 'cross_attn', 'norm', 'ffn')
NAMES = {
    'attentions.0.attn': 'self_attn',
    'attentions.1.attn': 'multihead_attn',
    'ffns.0.layers.0.0': 'linear1',
    'ffns.0.layers.1': 'linear2',
    'norms.0': 'norm1',
    'norms.1': 'norm2',
    'norms.2': 'norm3',
}


@pytest.mark.parametrize('order', [POST_NORM, PRE_NORM])
def test_a_layer_is_that_of_torch(order):
    torch.manual_seed(0)
    layer = DetrTransformerDecoderLayer(ATTENTION, feedforward_channels=16, operation_order=order)
    theirs = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, norm_first=order is PRE_NORM)
    for ours, name in NAMES.items():
        theirs.get_submodule(name).load_state_dict(layer.get_submodule(ours).state_dict())
    query, key = torch.randn(3, 2, 8), torch.randn(5, 2, 8)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    expected = theirs(query, key, memory_key_padding_mask=padding)
    torch.testing.assert_close(layer(query, key, key, key_padding_mask=padding), expected)


def test_an_order_that_is_no_order_is_told():
    with pytest.raises(ConfigError, match='operation_order must be made of'):
        DetrTransformerDecoderLayer(ATTENTION, 16, operation_order=('attention', 'norm'))
    with pytest.raises(ConfigError, match='has 2 attentions, attn_cfgs 1'):
        DetrTransformerDecoderLayer([ATTENTION], 16)


def transformer(order=POST_NORM, **decoder):
    layer = dict(attn_cfgs=ATTENTION, feedforward_channels=16)
    own = ('self_attn', 'norm', 'ffn', 'norm') if order is POST_NORM else ('norm', 'self_attn', 'norm', 'ffn')
    encoder = dict(layer, type='BaseTransformerLayer', operation_order=own)
    return build_transformer(
        dict(
            type='Transformer',
            encoder=dict(type='DetrTransformerEncoder', num_layers=1, transformerlayers=encoder),
            decoder=dict(
                type='DetrTransformerDecoder',
                num_layers=3,
                transformerlayers=dict(layer, type='DetrTransformerDecoderLayer', operation_order=order),
                **decoder,
            ),
        )
    )


@pytest.mark.parametrize(('intermediate', 'layers'), [(True, 3), (False, 1)])
def test_what_a_transformer_returns(intermediate, layers):
    torch.manual_seed(0)
    model = transformer(return_intermediate=intermediate)
    assert model.encoder.post_norm is None
    model.init_weights()
    features, positions = torch.randn(2, 8, 4, 5), torch.randn(2, 8, 4, 5)
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[1, :, 3:] = True
    queries, memory = model(features, mask, torch.randn(6, 8), positions)
    assert queries.shape == (layers, 2, 6, 8) and memory.shape == features.shape
    torch.testing.assert_close(queries[-1].mean(-1), torch.zeros(2, 6), atol=1e-5, rtol=0)
    changed = features.clone()
    changed[1, :, :, 3:] += 1
    torch.manual_seed(1)
    first, _ = model(features, mask, torch.ones(6, 8), positions)
    second, _ = model(changed, mask, torch.ones(6, 8), positions)
    torch.testing.assert_close(first, second)


def test_layers_that_begin_with_a_norm_end_in_one():
    assert transformer(PRE_NORM).encoder.post_norm is not None
    assert transformer(PRE_NORM, post_norm_cfg=None).decoder.post_norm is None
