"""Layers take empty batches, forward and backward."""

import pytest
import torch

import mmdetlike_ops
from mmdetlike_ops import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d, Linear, MaxPool2d, MaxPool3d


@pytest.mark.parametrize('layer, given, wanted', [
    (Conv2d(3, 4, 3, stride=2, padding=1), (0, 3, 9, 8), (0, 4, 5, 4)),
    (Conv2d(4, 4, 3, groups=4), (0, 4, 9, 8), (0, 4, 7, 6)),
    (Conv3d(3, 4, 3), (0, 3, 5, 9, 8), (0, 4, 3, 7, 6)),
    (ConvTranspose2d(3, 4, 2, stride=2), (0, 3, 14, 14), (0, 4, 28, 28)),
    (ConvTranspose3d(3, 4, 2, stride=2), (0, 3, 2, 4, 4), (0, 4, 4, 8, 8)),
    (MaxPool2d(3, stride=2, padding=1), (0, 3, 9, 8), (0, 3, 5, 4)),
    (MaxPool3d(2), (0, 3, 4, 9, 8), (0, 3, 2, 4, 4)),
    (Linear(3, 4), (0, 3), (0, 4)),
    (Linear(3, 4), (2, 0, 3), (2, 0, 4)),
], ids=str)  # fmt: skip
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_empty_batches(layer, given, wanted, layout):
    x = torch.zeros(given, requires_grad=True)
    out = layer(x.contiguous(memory_format=layout) if len(given) == 4 else x)
    assert out.shape == wanted
    out.sum().backward()
    assert x.grad.shape == given
    assert all(parameter.grad.abs().sum() == 0 for parameter in layer.parameters())


def test_every_name_is_there():
    assert len(set(mmdetlike_ops.__all__)) == len(mmdetlike_ops.__all__)
    assert all(hasattr(mmdetlike_ops, name) for name in mmdetlike_ops.__all__)


@pytest.mark.gpu
def test_empty_batches_on_cuda(cuda):
    for layer, given in ((Conv2d(3, 4, 3), (0, 3, 9, 8)), (MaxPool2d(2), (0, 3, 9, 8)), (Linear(3, 4), (0, 3))):
        x = torch.zeros(given, device=cuda, requires_grad=True)
        layer.to(cuda)(x).sum().backward()
        assert x.grad.shape == given
