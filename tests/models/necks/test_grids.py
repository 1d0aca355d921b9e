"""FPN_CARAFE, NASFPN and FPG: what the recordings don't show: other settings, odd sizes and errors."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.necks import FPG, FPN, FPN_CARAFE, NASFPN
from mmdetlike.models.necks.nas_fpn import MergeCell
from mmdetlike_ops import carafe

CHANNELS = [2, 4, 8, 16]


def maps(sizes=(16, 8, 4, 2), wider=1):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, s, s + wider, generator=generator) for c, s in zip(CHANNELS, sizes)]


# -- FPN_CARAFE ------------------------------------------------------------------------------------------------------


def test_maps_of_unequal_size_are_added():
    neck = FPN_CARAFE([4, 4], 4, 2, upsample_cfg=dict(type='nearest'))
    small, large = torch.rand(1, 4, 3, 5), torch.rand(1, 4, 4, 6)
    torch.testing.assert_close(neck.slice_as(large, small), large[:, :, :3, :5])
    torch.testing.assert_close(neck.tensor_add(small, large), small + large[:, :, :3, :5])


def test_carafe_with_nearest_upsampling_is_a_feature_pyramid():
    neck = FPN_CARAFE(CHANNELS, 6, num_outs=4, upsample_cfg=dict(type='nearest'))
    pyramid = FPN(CHANNELS, 6, num_outs=4)
    pyramid.load_state_dict(neck.state_dict())
    inputs = maps(wider=0)
    for ours, theirs in zip(neck(inputs), pyramid(inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_carafe_upsamples_by_predicted_kernels_through_extra_levels():
    neck = FPN_CARAFE(CHANNELS, 8, num_outs=5, upsample_cfg=dict(type='carafe', up_kernel=3, compressed_channels=4))
    inputs = maps((16, 8, 4, 2), wider=0)
    extra = neck.lateral_convs[4](inputs[3])
    layer = neck.upsample_modules[3]
    upsampled = carafe(extra, layer.predict_masks(extra), 3, 1, 2)
    outs = neck(inputs)
    assert [tuple(x.shape[1:]) for x in outs] == [(8, 16, 16), (8, 8, 8), (8, 4, 4), (8, 2, 2), (8, 1, 1)]
    torch.testing.assert_close(outs[3], neck.fpn_convs[3](neck.lateral_convs[3](inputs[3]) + upsampled))


@pytest.mark.parametrize(
    'upsample',
    [
        dict(type='carafe', up_kernel=3, compressed_channels=4),
        dict(type='pixel_shuffle', upsample_kernel=3),
        dict(type='deconv', upsample_kernel=3),
        dict(type='bilinear'),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_carafe_of_odd_sizes(upsample):
    neck = FPN_CARAFE(CHANNELS, 8, num_outs=5, upsample_cfg=upsample)
    neck.init_weights()
    outs = neck(maps((13, 7, 4, 2), wider=0))
    assert [x.shape[2] for x in outs] == [13, 7, 4, 2, 1]


def test_initial_kernels_of_carafe_are_nearly_even():
    neck = FPN_CARAFE(CHANNELS, 8, num_outs=4)
    neck.init_weights()
    weight = neck.upsample_modules[0].content_encoder.weight
    assert 0 < weight.std() < 0.002


def test_carafe_names_what_does_not_fit():
    with pytest.raises(
        ConfigError, match="a type of nearest, bilinear, deconv, pixel_shuffle, carafe, but got 'cubic'"
    ):
        FPN_CARAFE(CHANNELS, 8, num_outs=4, upsample_cfg=dict(type='cubic'))
    with pytest.raises(ConfigError, match='num_outs=3 does not fit 4 backbone levels'):
        FPN_CARAFE(CHANNELS, 8, num_outs=3)


# -- NASFPN ----------------------------------------------------------------------------------------------------------


def test_cells_bring_maps_to_one_size():
    small = torch.tensor([[[[1.0, -2.0]]]])
    large = torch.arange(8.0).reshape(1, 1, 2, 4)
    assert MergeCell(1, with_out_conv=False)(small, large, (2, 4)).tolist() == [[[[1, 2, 0, 1], [5, 6, 4, 5]]]]
    assert MergeCell(1, with_out_conv=False)(small, large, (1, 2)).tolist() == [[[[6, 5]]]]
    pooled = MergeCell(1, attend=True, with_out_conv=False)(small, small, (1, 2))
    torch.testing.assert_close(pooled, small * (1 + torch.tensor(-0.5).sigmoid()))


def test_cells_pad_what_is_no_multiple():
    odd = torch.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    even = torch.zeros(1, 1, 1, 3)
    assert MergeCell(1, with_out_conv=False)(odd, even, (1, 3)).tolist() == [[[[2, 4, 5]]]]


def test_nas_fpn_of_odd_sizes():
    neck = NASFPN(CHANNELS, 4, num_outs=5, stack_times=2, start_level=1)
    assert [x.shape[2] for x in neck(maps((50, 25, 13, 7)))] == [25, 13, 7, 3, 1]


def test_nas_fpn_names_what_does_not_fit():
    with pytest.raises(
        ConfigError, match='NASFPN puts out 5 maps of at most as many backbone maps, but got num_outs=4'
    ):
        NASFPN(CHANNELS, 4, num_outs=4, stack_times=1)


# -- FPG -------------------------------------------------------------------------------------------------------------


def grid(**changes) -> FPG:
    return FPG(
        **dict(dict(in_channels=CHANNELS, out_channels=4, num_outs=5, stack_times=2, paths=['bu', 'td']), **changes)
    )


@pytest.mark.parametrize('extra', [True, False])
def test_grid_runs_both_ways_on_odd_sizes(extra):
    neck = grid(
        same_down_trans=dict(type='interpolation_conv'),
        across_up_trans=dict(type='conv', kernel_size=3, stride=2, padding=1),
        across_down_trans=dict(type='conv', kernel_size=3, padding=1),
        add_extra_convs=extra,
    )
    assert [x.shape[2] for x in neck(maps((13, 7, 4, 2)))] == [13, 7, 4, 2, 1]
    up, down = neck.fpn_transitions
    assert 'same_down' not in up[1] and 'same_up' not in down[1]
    assert 'same_up' not in up[0] and 'same_down' not in down[4]


def test_node_sums_its_links_and_a_skipped_one_stays():
    neck = grid(
        stack_times=1,
        paths=['bu'],
        across_lateral_trans=dict(type='identity'),
        across_down_trans=None,
        skip_inds=[[0], [], [], [], []],
    )
    inputs = maps((16, 8, 4, 2))
    first = [conv(x) for conv, x in zip(neck.lateral_convs, inputs)]
    second = neck.fpn_transitions[0][1]['same_up'](first[0], first[1].shape[2:]) + 2 * first[1]
    outs = neck(inputs)
    torch.testing.assert_close(outs[0], neck.output_transition[0](first[0], None))
    torch.testing.assert_close(outs[1], neck.output_transition[1](second, None))


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(paths=['bu']), r"stack_times=2 paths, each 'bu' or 'td', but got paths=\['bu'\]"),
        (dict(paths=['bu', 'up']), r"but got paths=\['bu', 'up'\]"),
        (dict(num_outs=3), 'num_outs=3, expected at least the 4 backbone maps'),
        (dict(skip_inds=[[0]]), r'skip_inds of num_outs=5 levels, but got \[\[0\]\]'),
        (
            dict(output_trans=dict(type='first_conv')),
            "one of conv, interpolation_conv, last_conv, identity, but got type='f",
        ),
    ],
)
def test_grid_names_what_does_not_fit(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        grid(**changes)
