"""Layers that take empty batches: PyTorch's own, which do so today, under the names of the OpenMMLab ops library."""

from torch.nn import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d, Linear, MaxPool2d, MaxPool3d

__all__ = ['Conv2d', 'Conv3d', 'ConvTranspose2d', 'ConvTranspose3d', 'Linear', 'MaxPool2d', 'MaxPool3d']
