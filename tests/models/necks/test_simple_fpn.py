"""The simple feature pyramid of ViTDet."""

import pytest
import torch

from mmdetlike.models.necks import SimpleFPN

SIZES = dict(backbone_channel=8, in_channels=[2, 4, 8, 8], out_channels=3)


def neck(num_outs: int = 5) -> SimpleFPN:
    torch.manual_seed(0)
    return SimpleFPN(num_outs=num_outs, norm_cfg=dict(type='LN2d'), **SIZES)


def test_a_map_becomes_a_pyramid():
    x = torch.rand(2, 8, 6, 4)
    maps = neck()((x,))
    assert [tuple(m.shape) for m in maps] == [(2, 3, h, w) for h, w in ((24, 16), (12, 8), (6, 4), (3, 2), (2, 1))]
    torch.testing.assert_close(maps[4], maps[3][..., ::2, ::2])
    for alone, listed in zip(neck()(x), maps):
        torch.testing.assert_close(alone, listed)


def test_the_third_map_is_that_of_the_backbone_convolved():
    built = neck()
    x = torch.rand(1, 8, 4, 4)
    torch.testing.assert_close(built(x)[2], built.fpn_convs[2](built.lateral_convs[2](x)))


def test_checkpoints_may_call_the_norms_of_convolutions_norm_layer():
    state = {name.replace('.ln.', '.norm_layer.'): value + 1 for name, value in neck().state_dict().items()}
    loaded = neck()
    loaded.load_state_dict(state)
    torch.testing.assert_close(loaded.fpn_convs[1].ln.weight, state['fpn_convs.1.norm_layer.weight'])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_outs=3), 'num_outs must be at least 4, got 3'),
        (dict(in_channels=[8, 8, 8, 8]), r'in_channels must be \[2, 4, 8, 8\]'),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(ValueError, match=message):
        SimpleFPN(**{**SIZES, 'num_outs': 5, **changes})


def test_more_maps_than_one_are_refused():
    with pytest.raises(ValueError, match='built for 1 maps, got 2'):
        neck()([torch.rand(1, 8, 4, 4)] * 2)
