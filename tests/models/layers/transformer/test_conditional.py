"""Conditional attention and decoders whose references are points or boxes."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers.transformer import DABDecoder, SinePositionalEncoding, flatten_pyramid
from mmdetlike.models.layers.transformer.conditional import ConditionalAttention
from tests.models.tiny_queries import DIMS, FFN

LAYER = dict(self_attn_cfg=dict(embed_dims=DIMS, num_heads=2), cross_attn_cfg=dict(embed_dims=DIMS, num_heads=2))


def test_content_and_position_have_products_of_their_own():
    torch.manual_seed(0)
    attention = ConditionalAttention(4, 1, cross_attn=True)
    query, pos, encoding = torch.randn(3, 1, 2, 4)
    key, key_pos = torch.randn(2, 1, 5, 4)
    got = attention(query, key, key, pos, key_pos, reference_encoding=encoding)
    content = attention.qcontent_proj(query) @ attention.kcontent_proj(key).transpose(1, 2)
    place = attention.qpos_sine_proj(encoding) @ attention.kpos_proj(key_pos).transpose(1, 2)
    weights = ((content + place) / 8**0.5).softmax(-1)
    torch.testing.assert_close(got, query + attention.out_proj(weights @ attention.v_proj(key)))


def test_padding_is_not_attended_to():
    torch.manual_seed(0)
    attention = ConditionalAttention(4, 2, cross_attn=True, keep_query_pos=True)
    query, pos, encoding = torch.randn(3, 1, 2, 4)
    key, key_pos = torch.randn(2, 1, 5, 4)
    mask = torch.tensor([[False, False, False, True, True]])
    got = attention(query, key, key, pos, key_pos, key_padding_mask=mask, reference_encoding=encoding)
    short = attention(query, key[:, :3], key[:, :3], pos, key_pos[:, :3], reference_encoding=encoding)
    torch.testing.assert_close(got, short)


def test_channels_are_divided_evenly():
    with pytest.raises(ConfigError, match='embed_dims must be a multiple of num_heads, but got 6 and 4'):
        ConditionalAttention(6, 4)


def dab(**cfg):
    torch.manual_seed(0)
    return DABDecoder(2, dict(LAYER, ffn_cfg=FFN), **cfg)


@pytest.mark.parametrize('kind', ['cond_elewise', 'cond_scalar', 'fix_elewise'])
def test_boxes_are_refined_by_every_layer(kind):
    decoder = dab(query_scale_type=kind)
    pyramid = flatten_pyramid([torch.randn(1, DIMS, 2, 3)], None, SinePositionalEncoding(DIMS // 2))
    references = torch.rand(1, 4, 4)
    move_right = torch.tensor([1.0, 0, 0, 0])
    branches = [lambda query: move_right.expand(*query.shape[:2], 4)] * 2
    query = torch.zeros(1, 4, DIMS)
    hidden, given = decoder(query, None, references, pyramid, pyramid.feats, reg_branches=branches)
    assert len(hidden) == 2 and torch.equal(given[0], references)
    torch.testing.assert_close(given[1][..., 0].logit(), references[..., 0].logit() + 1, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(given[1][..., 1:], references[..., 1:], rtol=1e-3, atol=1e-3)


def test_a_large_side_is_looked_along_further():
    decoder = dab()
    pyramid = flatten_pyramid([torch.randn(1, DIMS, 2, 3)], None, SinePositionalEncoding(DIMS // 2))
    small = torch.tensor([[[0.5, 0.4, 0.2, 0.3]]])
    wide = torch.tensor([[[0.5, 0.4, 0.4, 0.3]]])
    query = torch.zeros(1, 1, DIMS)
    encodings = [
        decoder.attention_inputs(0, query, box, pyramid, pyramid.feats)['reference_encoding'] for box in (small, wide)
    ]
    # a flatter encoding of x, the same one of y
    torch.testing.assert_close(encodings[1][..., DIMS // 2 :] * 2, encodings[0][..., DIMS // 2 :])
    torch.testing.assert_close(encodings[1][..., : DIMS // 2], encodings[0][..., : DIMS // 2])


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(query_dim=2), 'query_dim must be 4, got 2'),
        (dict(return_intermediate=False), 'return_intermediate must be True, got False'),
        (dict(query_scale_type='cond'), "query_scale_type must be one of .*'fix_elewise'.*, got 'cond'"),
    ],
)
def test_settings_that_make_no_decoder(cfg, message):
    with pytest.raises(ValueError, match=message):
        dab(**cfg)
