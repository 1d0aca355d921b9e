import math

import pytest
import torch
from mmengine.model import BaseModule

from mmdetlike.registry import MODELS
from mmdetlike_ops import MultiScaleDeformableAttention, ms_deform_attn

SHAPES = torch.tensor([[6, 9], [3, 5]])
STARTS = torch.tensor([0, 54])


def make(**settings):
    torch.manual_seed(0)
    layer = MultiScaleDeformableAttention(
        **{'embed_dims': 16, 'num_heads': 2, 'num_levels': 2, 'num_points': 3, 'dropout': 0.0, **settings}
    )
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.eval()


@pytest.fixture
def inputs(rng):
    """Batch first."""
    return {
        'query': torch.randn(2, 7, 16, generator=rng),
        'value': torch.randn(2, 69, 16, generator=rng),
        'query_pos': torch.randn(2, 7, 16, generator=rng),
        'reference_points': torch.rand(2, 7, 2, 2, generator=rng),
    }


def by_hand(layer, query, value, query_pos, reference_points):
    asking = query + query_pos
    offsets = layer.sampling_offsets(asking).view(2, 7, 2, 2, 3, 2)
    weights = layer.attention_weights(asking).view(2, 7, 2, 6).softmax(-1).view(2, 7, 2, 2, 3)
    locations = torch.empty(2, 7, 2, 2, 3, 2)
    for level, (height, width) in enumerate(SHAPES.tolist()):
        centre = reference_points[:, :, level, None, None]
        if reference_points.shape[-1] == 2:
            locations[:, :, :, level] = centre + offsets[:, :, :, level] / torch.tensor([width, height])
        else:
            locations[:, :, :, level] = centre[..., :2] + offsets[:, :, :, level] / 3 * centre[..., 2:] / 2
    out = ms_deform_attn(layer.value_proj(value).view(2, 69, 2, -1), SHAPES, STARTS, locations, weights)
    return layer.output_proj(out) + query


@pytest.mark.parametrize('boxes', [False, True])
@pytest.mark.parametrize('ratio', [1.0, 0.5])
def test_follows_the_paper(inputs, rng, boxes, ratio):
    if boxes:
        inputs['reference_points'] = torch.rand(2, 7, 2, 4, generator=rng)
    layer = make(batch_first=True, value_proj_ratio=ratio)
    out = layer(**inputs, spatial_shapes=SHAPES, level_start_index=STARTS)
    torch.testing.assert_close(out, by_hand(layer, **inputs))


def test_sequence_first(inputs):
    layer = make()
    expected = by_hand(layer, **inputs)
    for name in ('query', 'value', 'query_pos'):
        inputs[name] = inputs[name].transpose(0, 1)
    out = layer(**inputs, spatial_shapes=SHAPES, level_start_index=STARTS)
    torch.testing.assert_close(out.transpose(0, 1), expected)


def test_padded_pixels_count_as_zero(inputs):
    layer = make(batch_first=True)
    mask = torch.zeros(2, 69, dtype=torch.bool)
    mask[1] = True
    out = layer(**inputs, key_padding_mask=mask, spatial_shapes=SHAPES, level_start_index=STARTS)
    torch.testing.assert_close(out[0], by_hand(layer, **inputs)[0])
    torch.testing.assert_close(out[1], inputs['query'][1] + layer.output_proj.bias)


def test_identity_and_value_by_default(inputs, rng):
    layer = make(batch_first=True)
    pixels, points = torch.randn(2, 69, 16, generator=rng), torch.rand(2, 69, 2, 2, generator=rng)
    where = {'reference_points': points, 'spatial_shapes': SHAPES, 'level_start_index': STARTS}
    out = layer(pixels, **where)
    torch.testing.assert_close(layer(pixels, value=pixels, identity=pixels + 1, **where), out + 1)


def test_initial_weights():
    layer = MultiScaleDeformableAttention()
    bias = layer.sampling_offsets.bias.view(8, 4, 4, 2)
    assert bias.abs().amax(-1).eq(torch.tensor([1.0, 2, 3, 4])).all()
    angles = torch.atan2(bias[..., 1], bias[..., 0]) % (2 * math.pi)
    torch.testing.assert_close(angles, (torch.arange(8) * math.pi / 4)[:, None, None].expand(8, 4, 4))
    for zero in (layer.sampling_offsets.weight, layer.attention_weights.weight, layer.attention_weights.bias):
        assert zero.abs().sum() == 0
    for projection in (layer.value_proj, layer.output_proj):
        assert projection.bias.abs().sum() == 0
        assert 0.9 < projection.weight.abs().max() / math.sqrt(6 / 512) <= 1
    assert list(layer.state_dict()) == [
        f'{name}.{kind}'
        for name in ('sampling_offsets', 'attention_weights', 'value_proj', 'output_proj')
        for kind in ('weight', 'bias')
    ]


def test_a_config_builds_it_and_its_parent_initialises_it():
    layer = MODELS.build({'type': 'mmcv.MultiScaleDeformableAttention', 'embed_dims': 32, 'num_levels': 1})
    assert isinstance(layer, MultiScaleDeformableAttention)
    parent = BaseModule()
    parent.layer = layer
    torch.nn.init.ones_(layer.attention_weights.weight)
    parent.init_weights()
    assert layer.attention_weights.weight.abs().sum() == 0


def test_autocast(inputs):
    layer = make(batch_first=True)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(**inputs, spatial_shapes=SHAPES, level_start_index=STARTS)
    torch.testing.assert_close(out.float(), by_hand(layer, **inputs), rtol=0.1, atol=0.1)


@pytest.mark.parametrize('change, words', [
    ({'reference_points': None}, 'reference_points is missing'),
    ({'spatial_shapes': None}, 'spatial_shapes is missing'),
    ({'reference_points': torch.zeros(2, 7, 3, 2)}, r'reference_points has shape \(2, 7, 3, 2\), \(2, 7, 2, 2 or 4\)'),
    ({'reference_points': torch.zeros(2, 7, 2, 3)}, r'\(2, 7, 2, 2 or 4\) is expected'),
])  # fmt: skip
def test_bad_input(inputs, change, words):
    given = {**inputs, 'spatial_shapes': SHAPES, 'level_start_index': STARTS, **change}
    with pytest.raises(ValueError, match=words):
        make(batch_first=True)(**given)


def test_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match='embed_dims is 100, a multiple of num_heads=8'):
        MultiScaleDeformableAttention(embed_dims=100)
