"""The decoder of D-FINE: distributions of edges, and attention with uneven points."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers.transformer import EdgeOffsets, UnevenDeformableAttention
from mmdetlike_ops import MultiScaleDeformableAttention


def weighting(n: int, bins: int, a: float, c: float) -> float:
    """W(n) as the paper writes it."""
    if n in (0, bins):
        return -2 * a if n == 0 else 2 * a
    if n < bins / 2:
        return c - c * (a / c + 1) ** ((bins - 2 * n) / (bins - 2))
    return -c + c * (a / c + 1) ** ((-bins + 2 * n) / (bins - 2))


@pytest.mark.parametrize(('bins', 'up', 'scale'), [(32, 0.5, 4.0), (32, 0.5, 8.0), (6, 1.0, 2.0)])
def test_offsets_of_bins_are_those_of_the_paper(bins, up, scale):
    expected = [weighting(n, bins, up, 1 / scale) for n in range(bins + 1)]
    torch.testing.assert_close(EdgeOffsets(bins, up, scale).values, torch.tensor(expected))


SHARE = st.floats(0.1, 0.9)


@given(st.tuples(SHARE, SHARE, SHARE, SHARE), st.tuples(SHARE, SHARE, SHARE, SHARE))
def test_edges_move_a_box_onto_another(box, target):
    offsets = EdgeOffsets()
    boxes, targets = torch.tensor([box]), torch.tensor([target])
    moved = offsets.move_edges(boxes, offsets.between(boxes, targets))
    torch.testing.assert_close(moved, targets, rtol=1e-4, atol=1e-5)


def test_edges_are_left_top_right_bottom():
    moved = EdgeOffsets().move_edges(torch.tensor([0.5, 0.5, 0.2, 0.1]), torch.tensor([0.5, 0, 0, 1.0]))
    # left by half of the width, the bottom by the height
    torch.testing.assert_close(moved, torch.tensor([0.45, 0.55, 0.3, 0.2]))


def test_where_offsets_lie_among_bins():
    offsets = EdgeOffsets(num_bins=4, up=0.5, reg_scale=4.0)
    torch.testing.assert_close(offsets.values, torch.tensor([-1.0, -0.5, 0, 0.5, 1]))
    places = offsets.locate(torch.tensor([-3.0, -1, -0.75, 0, 0.1, 0.5, 1, 7, torch.inf]))
    torch.testing.assert_close(places, torch.tensor([0, 0, 0.5, 2, 2.2, 3, 4, 4, 4]))


def test_a_box_without_size_has_targets():
    offsets = EdgeOffsets()
    between = offsets.between(torch.tensor([[0.5, 0.5, 0.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
    assert offsets.locate(between).tolist() == [[32.0] * 4]


@pytest.mark.parametrize('wrong', [dict(num_bins=5), dict(num_bins=2), dict(up=0.0), dict(reg_scale=-1.0)])
def test_bins_that_cannot_be(wrong):
    with pytest.raises(ConfigError, match='must be'):
        EdgeOffsets(**wrong)


SIZES = [(5, 4), (3, 2)]
PYRAMID = dict(spatial_shapes=torch.tensor(SIZES), level_start_index=torch.tensor([0, 20]))


def inputs(channels: int = 8) -> dict:
    torch.manual_seed(0)
    boxes = torch.rand(2, 3, 1, 4).expand(-1, -1, 2, -1) * 0.5 + 0.2
    query, pos, value = torch.rand(2, 3, channels), torch.rand(2, 3, channels), torch.rand(2, 26, channels)
    return dict(query=query, query_pos=pos, value=value, reference_points=boxes, **PYRAMID)


def test_as_many_points_of_each_level_are_plain_deformable_attention():
    ours = UnevenDeformableAttention(8, 2, 2, 3)
    plain = MultiScaleDeformableAttention(8, 2, 2, 3, dropout=0.0, batch_first=True)
    for name in ('sampling_offsets', 'attention_weights'):
        torch.nn.init.normal_(getattr(ours, name).weight)
        getattr(plain, name).load_state_dict(getattr(ours, name).state_dict())
    for projection in (plain.value_proj, plain.output_proj):
        torch.nn.init.eye_(projection.weight)
    given_ = inputs()
    mask = torch.zeros(2, 26, dtype=torch.bool)
    mask[1, 15:20] = True
    given_['key_padding_mask'] = mask
    torch.testing.assert_close(ours(**given_), plain(**given_) - given_['query'])


def test_a_level_with_fewer_points_is_one_whose_other_points_weigh_nothing():
    uneven = UnevenDeformableAttention(8, 2, 2, [3, 1])
    torch.nn.init.normal_(uneven.attention_weights.weight)
    even = UnevenDeformableAttention(8, 2, 2, 3)
    # points 1 and 2 of level 1 get no weight; offsets are relative to the number of points of a level
    kept = [0, 1, 2, 3]
    with torch.no_grad():
        even.attention_weights.weight.zero_()
        even.attention_weights.bias.fill_(-torch.inf)
        for wanted, own in ((even, uneven),):
            for name, size in (('weight', (8,)), ('bias', ())):
                target = getattr(wanted.attention_weights, name).view(2, 6, *size)
                target[:, kept] = getattr(own.attention_weights, name).view(2, 4, *size)
        offsets = uneven.sampling_offsets.bias.view(2, 4, 2)
        even.sampling_offsets.weight.zero_()
        uneven.sampling_offsets.weight.zero_()
        even.sampling_offsets.bias.view(2, 6, 2)[:, :3] = offsets[:, :3]
        even.sampling_offsets.bias.view(2, 6, 2)[:, 3] = offsets[:, 3] * 3
    torch.testing.assert_close(uneven(**inputs()), even(**inputs()))


def test_settings_of_attention_that_do_not_fit():
    with pytest.raises(ConfigError, match='num_points must be one of each of 3 levels, at least 1, got'):
        UnevenDeformableAttention(8, 2, 3, [2, 2])
    with pytest.raises(ConfigError, match='embed_dims must be a multiple of num_heads=3, got 8'):
        UnevenDeformableAttention(8, 3)
    with pytest.raises(ConfigError, match='no dropout'):
        UnevenDeformableAttention(8, 2, dropout=0.1)
