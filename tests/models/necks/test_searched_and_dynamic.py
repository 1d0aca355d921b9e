"""NAS-FCOS's pyramid and DyHead: what recordings don't show."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.dense import NASFCOSHead
from mmdetlike.models.necks import NASFCOS_FPN, DyHead
from mmdetlike.models.necks.dyhead import first_values

FPN = dict(in_channels=[8, 8, 8, 8], out_channels=8)


def test_sizes_of_odd_images():
    neck = NASFCOS_FPN(**FPN, num_outs=4, add_extra_convs=True)
    maps = [torch.rand(2, 8, side, side + 1) for side in (26, 13, 7, 4)]
    assert [tuple(out.shape[-2:]) for out in neck(maps)] == [(13, 14), (7, 8), (4, 5), (2, 3)]


def test_number_of_maps_put_out():
    with pytest.raises(ConfigError, match='num_outs=5 and add_extra_convs=False do not fit'):
        NASFCOS_FPN(**FPN, num_outs=5)
    with pytest.raises(ConfigError, match='merges 3 backbone maps, but start_level=2 and end_level=-1 choose 2 of 4'):
        NASFCOS_FPN(**FPN, num_outs=3, start_level=2)


def test_the_searched_towers_are_fixed():
    with pytest.raises(ConfigError, match='have 4 layers, got stacked_convs=2'):
        NASFCOSHead(3, 8, stacked_convs=2)
    with pytest.raises(ConfigError, match='conv_cfg must not be given'):
        NASFCOSHead(3, 8, conv_cfg=dict(type='DCNv2'))


def test_a_coarse_map_has_the_first_numbers_of_a_fine_one():
    x = torch.arange(2 * 2 * 3 * 4.0).view(2, 2, 3, 4)
    assert first_values(x, (1, 2)).flatten(1).tolist() == [[0, 1, 2, 3], [24, 25, 26, 27]]


def test_dyhead_keeps_sizes_and_refuses_an_initialization():
    neck = DyHead(8, 16, num_blocks=1)
    neck.init_weights()
    maps = [torch.rand(1, 8, *size) for size in ((13, 9), (7, 5), (4, 3))]
    assert [tuple(out.shape) for out in neck(maps)] == [(1, 16, 13, 9), (1, 16, 7, 5), (1, 16, 4, 3)]
    assert not neck.dyhead_blocks[0].spatial_conv_offset.weight.any()
    with pytest.raises(ConfigError, match='init_cfg must be None'):
        DyHead(8, 8, init_cfg=dict(type='Xavier', layer='Conv2d'))
