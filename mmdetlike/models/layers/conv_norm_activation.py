"""Convolutions with what follows them, told by names or functions in place of configs, as Detectron2 takes them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError

from .norm import build_norm_layer

Norm = str | dict | Callable[[int], nn.Module] | None


class ShapeSpec(NamedTuple):
    """What is known of a feature map: channels, height and width in its own pixels, and stride, in pixels of the image.

    None stands for what isn't known.
    """

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None


def get_norm(norm: Norm, out_channels: int) -> nn.Module | None:
    """Build a normalization layer from a name, a config, or a function of the number of channels.

    Args:
        norm: '' or None for none; 'BN', 'SyncBN', 'FrozenBN', 'GN' (of 32 groups) or another ``type`` of a norm layer;
            a config of one; or a function.
        out_channels: Number of channels.

    Raises:
        ConfigError: The name is unknown, or the layer doesn't fit the channels.
    """
    if norm is None or norm == '':
        return None
    if isinstance(norm, str):
        norm = dict(type='GN', num_groups=32) if norm == 'GN' else dict(type=norm)
    if isinstance(norm, dict):
        return build_norm_layer(norm, out_channels)[1]
    return norm(out_channels)


class ConvNormActivation(nn.Conv2d):
    """``torch.nn.Conv2d`` with an optional normalization layer, ``norm``, and activation after it.

    The other arguments are those of ``torch.nn.Conv2d``; parameters are ``weight``, ``bias`` and ``norm.*``.

    Args:
        norm: As of `get_norm`, or a layer.
        activation: A function of the result, after the normalization.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        norm: Norm | nn.Module = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.norm = norm if isinstance(norm, nn.Module) else get_norm(norm, out_channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h', w'); n may be 0."""
        x = super().forward(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Rethinking Atrous Convolution for Semantic Segmentation, arXiv 1706.05587).

    Five branches: a 1x1 convolution, three 3x3 convolutions of different dilations, and the mean over a window. A 1x1
    convolution, ``project``, puts them together.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of each branch and of the result.
        dilations: Those of the 3x3 convolutions.
        norm: As of `get_norm`, for all convolutions but the one after a mean over the whole map: that has one pixel.
        activation: A function after each convolution.
        pool_kernel_size: (height, width) of the window of the last branch, which has to divide the map's; None for the
            whole map.
        dropout: Probability by which values of the result are dropped.
        use_depthwise_separable_conv: Split the 3x3 convolutions into depthwise and 1x1 ones.

    Raises:
        ConfigError: There aren't three dilations; in ``forward``, the window doesn't divide the map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: tuple[int, int, int],
        *,
        norm: Norm,
        activation: Callable[[Tensor], Tensor],
        pool_kernel_size: tuple[int, int] | None = None,
        dropout: float = 0.0,
        use_depthwise_separable_conv: bool = False,
    ) -> None:
        super().__init__()
        if len(dilations) != 3:
            raise ConfigError(f'ASPP needs three dilations, got {dilations!r}.')
        self.pool_kernel_size = pool_kernel_size
        self.dropout = dropout
        common = dict(norm=norm, activation=activation)
        separable = use_depthwise_separable_conv
        branches = [_conv(in_channels, out_channels, 1, **common)]
        branches += [_dilated(in_channels, out_channels, rate, separable, **common) for rate in dilations]
        pooled = dict(common, norm=None) if pool_kernel_size is None else common
        branches.append(_conv(in_channels, out_channels, 1, **pooled))
        self.convs = nn.ModuleList(branches)
        self.project = _conv(len(branches) * out_channels, out_channels, 1, **common)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w)."""
        features = [conv(x) for conv in self.convs[:-1]]
        pooled = self.convs[-1](self._pool(x))
        features.append(F.interpolate(pooled, size=x.shape[-2:], mode='bilinear', align_corners=False))
        return F.dropout(self.project(torch.cat(features, dim=1)), self.dropout, self.training)

    def _pool(self, x: Tensor) -> Tensor:
        if self.pool_kernel_size is None:
            return x.mean((2, 3), keepdim=True)
        if x.shape[2] % self.pool_kernel_size[0] or x.shape[3] % self.pool_kernel_size[1]:
            raise ConfigError(
                f'ASPP: pool_kernel_size={tuple(self.pool_kernel_size)} has to divide the map of {tuple(x.shape[2:])}.'
            )
        return F.avg_pool2d(x, self.pool_kernel_size, stride=1)


def _conv(in_channels: int, out_channels: int, kernel_size: int, **settings) -> ConvNormActivation:
    # a bias before a normalization layer has no effect
    bias = settings['norm'] in (None, '')
    return ConvNormActivation(in_channels, out_channels, kernel_size, bias=bias, **settings)


def _dilated(in_channels: int, out_channels: int, rate: int, separable: bool, **common) -> nn.Module:
    if not separable:
        return _conv(in_channels, out_channels, 3, padding=rate, dilation=rate, **common)
    depthwise = _conv(in_channels, in_channels, 3, padding=rate, dilation=rate, groups=in_channels, **common)
    return nn.Sequential(depthwise, _conv(in_channels, out_channels, 1, **common))
