"""Norm layers of our own."""

import pytest
import torch

from mmdetlike.models.layers import LayerNorm2d


def test_layer_norm_2d_normalises_channels():
    layer = LayerNorm2d(5)
    torch.nn.init.uniform_(layer.weight)
    torch.nn.init.uniform_(layer.bias)
    x = torch.rand(2, 5, 3, 4)
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (var + 1e-5).sqrt() * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), expected)
    with pytest.raises(ValueError, match=r'\(N, C, H, W\), but got \(2, 5\)'):
        layer(torch.rand(2, 5))
