"""Convolutions and upsampling in turn."""

import pytest
import torch

from mmdetlike.models.layers import ConvUpsample


def test_conv_upsample():
    layer = ConvUpsample(3, 4, num_layers=3, num_upsample=2, norm_cfg=dict(type='GN', num_groups=2))
    assert layer(torch.rand(1, 3, 5, 6)).shape == (1, 4, 20, 24)
    assert ConvUpsample(3, 4, num_layers=2, num_upsample=0)(torch.rand(1, 3, 5, 6)).shape == (1, 4, 5, 6)
    assert list(layer.state_dict())[:2] == ['conv.0.conv.weight', 'conv.0.gn.weight']
    with pytest.raises(ValueError, match='num_upsample=2 must not be more than num_layers=1'):
        ConvUpsample(3, 4, num_layers=1, num_upsample=2)
