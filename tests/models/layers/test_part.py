"""Parts that a config may replace: encoders, attention, positional encodings and the like."""

import copy
import re

import pytest
from mmengine import Config
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.query import QueryContext
from mmdetlike.models.layers import MultiheadAttention, build_part
from mmdetlike.models.layers.transformer import LearnedPositionalEncoding, TransformerEncoder
from mmdetlike.registry import MODELS
from mmdetlike.utils.config import locate
from tests.models.tiny_queries import ATTENTION, DECODER_LAYER, DIMS, ENCODER_LAYER, detr, dino, features


class GatedAttention(MultiheadAttention):
    """A user's attention."""


class ThinEncoder(TransformerEncoder):
    """A user's encoder."""


@pytest.fixture(autouse=True)
def _register():
    for cls in (GatedAttention, ThinEncoder):
        MODELS.register_module(module=cls)
    yield
    for cls in (GatedAttention, ThinEncoder):
        MODELS.module_dict.pop(cls.__name__)


def test_defaults_yield_to_the_config_and_both_to_what_is_fixed():
    part = build_part(dict(out_features=5, bias=True), nn.Linear, dict(out_features=2, in_features=3), bias=False)
    assert (part.in_features, part.out_features, part.bias) == (3, 5, None)
    assert isinstance(build_part(None, 'Linear', in_features=1, out_features=1), nn.Linear)


def test_a_config_replaces_parts_of_a_detector_by_type():
    layer = dict(ENCODER_LAYER, self_attn_cfg=dict(ATTENTION, type='GatedAttention'))
    model = detr(
        encoder=dict(type='ThinEncoder', num_layers=1, layer_cfg=layer),
        decoder=dict(
            num_layers=1, layer_cfg=dict(DECODER_LAYER, cross_attn_cfg=dict(ATTENTION, type='GatedAttention'))
        ),
        positional_encoding=dict(type='LearnedPositionalEncoding', num_feats=DIMS // 2),
    )
    assert type(model.encoder) is ThinEncoder
    assert type(model.encoder.layers[0].self_attn) is GatedAttention
    assert type(model.decoder.layers[0].self_attn) is MultiheadAttention
    assert type(model.decoder.layers[0].cross_attn) is GatedAttention
    assert type(model.positional_encoding) is LearnedPositionalEncoding
    assert model.forward_transformer(features()[-1:], QueryContext()).hidden_states[-1].isfinite().all()


@pytest.mark.parametrize(
    ('make', 'override', 'message'),
    [
        (detr, {'encoder.num_layer': 1}, "model.encoder: type='TransformerEncoder': .* did you mean 'num_layers'"),
        (detr, {'encoder.type': 'ThinEncodr'}, "model.encoder: type='ThinEncodr' .* Closest names: ThinEncoder"),
        (
            detr,
            {'decoder.layer_cfg.cross_attn_cfg.num_head': 2},
            "model.decoder.layer_cfg.cross_attn_cfg: type='MultiheadAttention': .* did you mean 'num_heads'",
        ),
        (dino, {'dn_cfg.box_noise': 2}, "model.dn_cfg: type='CdnQueryGenerator': .* did you mean 'box_noise_scale'"),
        (detr, {'encoder': 3}, 'the arguments of TransformerEncoder must be a dict, got 3'),
    ],
)
def test_a_mistake_in_a_part_is_told_with_its_place(monkeypatch, make, override, message):
    configs = []
    monkeypatch.setattr('tests.models.tiny_queries.build', lambda **cfg: configs.append(copy.deepcopy(cfg)))
    make()
    config = Config(dict(model=configs[0]))
    config.merge_from_dict({f'model.{key}': value for key, value in override.items()})
    with pytest.raises(ConfigError) as raised:
        MODELS.build(config.model)
    assert re.search(message, locate(raised.value, config))
