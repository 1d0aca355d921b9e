"""Layers that Detectron2 documents."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ASPP, ConvNormActivation, ShapeSpec, get_norm
from mmdetlike.models.utils.tensors import cat, cross_entropy, nonzero_tuple
from mmdetlike_ops import FrozenBatchNorm2d


def test_norms_by_name_config_and_function():
    assert get_norm('', 4) is None and get_norm(None, 4) is None
    assert isinstance(get_norm('BN', 4), nn.BatchNorm2d)
    assert isinstance(get_norm('FrozenBN', 4), FrozenBatchNorm2d)
    assert get_norm('GN', 64).num_groups == 32
    assert get_norm(dict(type='GN', num_groups=2), 4).num_groups == 2
    assert isinstance(get_norm(nn.InstanceNorm2d, 4), nn.InstanceNorm2d)
    with pytest.raises(ConfigError, match='XN'):
        get_norm('XN', 4)


def test_normalization_comes_before_activation():
    conv = ConvNormActivation(3, 4, 3, padding=1, bias=False, norm='BN', activation=F.relu)
    assert list(conv.state_dict())[:2] == ['weight', 'norm.weight']
    x = torch.randn(2, 3, 5, 6)
    expected = F.relu(conv.norm.eval()(F.conv2d(x, conv.weight, padding=1)))
    assert torch.equal(conv.eval()(x), expected)
    assert conv(x[:0]).shape == (0, 4, 5, 6)
    plain = ConvNormActivation(3, 4, 3)
    assert torch.equal(plain(x), F.conv2d(x, plain.weight, plain.bias))


def test_shapes_are_known_in_parts():
    assert ShapeSpec(channels=3) == (3, None, None, None)


def test_aspp_has_five_branches_and_no_norm_on_a_single_pixel():
    layer = ASPP(6, 8, (1, 2, 3), norm='BN', activation=F.relu, dropout=0.1)
    assert len(layer.convs) == 5 and layer.convs[-1].norm is None and layer.convs[-1].bias is not None
    assert all(conv.norm is not None and conv.bias is None for conv in layer.convs[:-1])
    assert layer.project.in_channels == 40
    assert layer(torch.randn(1, 6, 9, 7)).shape == (1, 8, 9, 7)  # one image: a norm of one pixel would raise
    layer.eval()
    x = torch.randn(2, 6, 9, 7)
    assert torch.equal(layer(x), layer(x))


def test_aspp_with_a_window_and_separable_convolutions():
    settings = dict(pool_kernel_size=(3, 2), use_depthwise_separable_conv=True)
    layer = ASPP(6, 8, (1, 2, 3), norm='BN', activation=F.relu, **settings)
    assert layer.convs[1][0].groups == 6 and layer.convs[-1].norm is not None
    assert layer(torch.randn(2, 6, 9, 8)).shape == (2, 8, 9, 8)
    with pytest.raises(ConfigError, match=r'pool_kernel_size=\(3, 2\) has to divide the map of \(8, 8\)'):
        layer(torch.randn(2, 6, 8, 8))
    with pytest.raises(ConfigError, match='three dilations'):
        ASPP(6, 8, (1, 2), norm='', activation=F.relu)


def test_a_lone_tensor_is_not_copied():
    x = torch.ones(2, 3)
    assert cat([x]) is x and cat([x, x], dim=1).shape == (2, 6)


def test_indices_of_what_is_not_zero():
    rows, columns = nonzero_tuple(torch.tensor([[0, 1], [2, 0]]))
    assert rows.tolist() == [0, 1] and columns.tolist() == [1, 0]
    assert nonzero_tuple(torch.tensor(3))[0].tolist() == [0]


def test_cross_entropy_of_nothing_is_zero_with_a_gradient():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, 4)
    x, target = torch.randn(3, 4), torch.tensor([0, 1, 2])
    assert torch.equal(cross_entropy(x, target, label_smoothing=0.1), F.cross_entropy(x, target, label_smoothing=0.1))
