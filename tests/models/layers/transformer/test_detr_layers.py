"""Encoders, decoders and their hooks."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers.transformer import (
    DeformableEncoder,
    SinePositionalEncoding,
    TransformerDecoder,
    TransformerEncoder,
    flatten_pyramid,
)
from tests.models.tiny_queries import DECODER_LAYER, DEFORMABLE, DIMS, ENCODER_LAYER, FFN


def test_layers_by_list_and_recomputed_activations():
    layers = [ENCODER_LAYER, dict(ENCODER_LAYER, ffn_cfg=dict(FFN, feedforward_channels=7))]
    encoder = TransformerEncoder(2, layers, num_cp=2)
    assert encoder.layers[1].ffn.layers[0][0].out_features == 7
    query = torch.randn(1, 5, DIMS, requires_grad=True)
    plain = TransformerEncoder(2, layers)
    plain.load_state_dict(encoder.state_dict())
    pos, mask = torch.randn(1, 5, DIMS), torch.tensor([[False, False, True, False, True]])
    grads = [torch.autograd.grad(e(query, pos, key_padding_mask=mask).sum(), query)[0] for e in (encoder, plain)]
    torch.testing.assert_close(*grads)
    with pytest.raises(ValueError, match='layer_cfg has 2 entries, num_layers=3 are expected'):
        TransformerEncoder(3, layers)


def test_decoder_returns_every_layer_or_the_last():
    torch.manual_seed(0)
    decoder = TransformerDecoder(3, DECODER_LAYER)
    last = TransformerDecoder(3, DECODER_LAYER, return_intermediate=False)
    last.load_state_dict(decoder.state_dict())
    query = torch.randn(1, 4, DIMS)
    pyramid = flatten_pyramid([torch.randn(1, DIMS, 2, 3)], None, SinePositionalEncoding(DIMS // 2))
    inputs = (query, query * 2, None, pyramid, pyramid.feats)
    (every, references), (one, _) = decoder(*inputs), last(*inputs)
    assert len(every) == 3 and len(one) == 1 and references == [None] * 3
    torch.testing.assert_close(every[-1], one[0])


def test_references_that_a_decoder_does_not_have_are_not_refined():
    with pytest.raises(NotImplementedError, match='the queries of TransformerDecoder have no references to refine'):
        TransformerDecoder(1, DECODER_LAYER).next_references(torch.rand(1, 4, 2), torch.rand(1, 4, 4))


def test_matrices_are_initialized_by_xavier_but_for_parts_that_know_better():
    encoder = DeformableEncoder(1, dict(self_attn_cfg=DEFORMABLE, ffn_cfg=FFN))
    encoder.init_weights()
    bound = (6 / (DIMS + FFN['feedforward_channels'])) ** 0.5
    weight = encoder.layers[0].ffn.layers[0][0].weight
    assert 0.9 * bound < weight.abs().max() <= bound
    # deformable attention begins with the same offsets everywhere: its paper's, not random ones
    assert not encoder.layers[0].self_attn.sampling_offsets.weight.any()


def test_a_stack_has_a_layer():
    with pytest.raises(ConfigError, match='TransformerEncoder needs num_layers of at least 1, got 0'):
        TransformerEncoder(0, {})
