"""Norm layers of our own."""

import pytest
import torch
from mmengine.model import BaseModule

from mmdetlike.models.layers import LayerNorm2d, build_norm_layer


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


def test_batch_norm_of_a_single_value():
    _, layer = build_norm_layer(dict(type='BN'), 3)
    with torch.no_grad():
        for name, value in dict(running_mean=1.0, running_var=4.0, weight=3.0, bias=0.5).items():
            getattr(layer, name).fill_(value)
    x = torch.full((1, 3, 1, 1), 5.0, requires_grad=True)
    y = layer.train()(x)
    # 3 * (5 - 1) / 2 + 0.5
    torch.testing.assert_close(y, torch.full_like(y, 6.5))
    assert int(layer.num_batches_tracked) == 0 and layer.running_mean.tolist() == [1.0] * 3
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1.5))
    layer(torch.rand(2, 3, 1, 1))  # two values have a variance
    assert int(layer.num_batches_tracked) == 1


def test_initialisation_finds_batch_norm_by_the_name_of_its_base():
    class Net(BaseModule):
        def __init__(self):
            super().__init__(dict(type='Constant', val=2.0, layer='_BatchNorm'))
            self.norm = build_norm_layer(dict(type='BN'), 3)[1]

    net = Net()
    net.init_weights()
    assert net.norm.weight.tolist() == [2.0] * 3
