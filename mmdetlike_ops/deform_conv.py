"""Deformable convolution layers."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from .deform_conv2d import check_no_bias, deform_conv2d, modulated_deform_conv2d


class _DeformLayer(nn.Module):
    """The base of the deformable convolutions: their settings, weight and repr."""

    transposed = False  # this and the next are for code that treats layers as nn.Conv2d
    output_padding = (0,)
    predictions_per_tap = 0  # numbers that `conv_offset` predicts, if the layer has one

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups):
        super().__init__()
        for name, count in (('in_channels', in_channels), ('out_channels', out_channels)):
            if groups < 1 or count % groups:
                raise ValueError(f'{type(self).__name__}: groups is {groups}, a divisor of {name} {count} is expected')
        if deform_groups < 1 or in_channels % deform_groups:
            raise ValueError(
                f'{type(self).__name__}: deform_groups is {deform_groups}, a divisor of in_channels {in_channels} '
                'is expected'
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.deform_groups = deform_groups
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        if self.predictions_per_tap:
            channels = deform_groups * self.predictions_per_tap * math.prod(self.kernel_size)
            self.conv_offset = nn.Conv2d(
                in_channels, channels, self.kernel_size, self.stride, self.padding, self.dilation
            )

    def init_offset(self) -> None:
        """Let `conv_offset` predict the regular grid of taps."""
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def extra_repr(self) -> str:
        return (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, '
            f'padding={self.padding}, dilation={self.dilation}, groups={self.groups}, '
            f'deform_groups={self.deform_groups}'
        )


class DeformConv2d(_DeformLayer):
    """Deformable convolution with given offsets: Deformable Convolutional Networks, arXiv 1703.06211.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along y and x.
        stride: Pixels of the input from one output to the next.
        padding: Pixels by which the first output's taps start before the map.
        dilation: Pixels between taps.
        groups: Parts of the channels that are convolved apart.
        deform_groups: Parts of the channels that have their own offsets.
        bias: Must be False.
        im2col_step: At most this many images are unfolded at a time; divides the batch unless it is larger. None for
            32 whatever the batch.

    Raises:
        ValueError: ``bias`` is not False, or groups do not divide channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int | None = None,
    ):
        check_no_bias(type(self).__name__, bias)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups)
        self.im2col_step = im2col_step
        self.init_weights()

    def init_weights(self) -> None:
        """Kaiming initialization of the weight for a ReLU."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Convolve; an input smaller than the kernel needs no padding, since features outside the map count as 0.

        Args:
            x: (b, in_channels, h, w).
            offset: (b, deform_groups * kh * kw * 2, h_out, w_out), y then x of each tap.

        Returns:
            (b, out_channels, h_out, w_out).
        """
        return deform_conv2d(
            x,
            offset,
            self.weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
            im2col_step=self.im2col_step,
        )


class DeformConv2dPack(DeformConv2d):
    """Deformable convolution that predicts its offsets from its input; ``DCN`` in configs.

    The arguments are those of ``DeformConv2d``. The offsets come from ``conv_offset``, a convolution of the same
    geometry that starts at zero.
    """

    predictions_per_tap = 2

    def init_weights(self) -> None:
        """Initialize as the base class does; start from the regular grid of taps."""
        super().init_weights()
        self.init_offset()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, h_out, w_out)."""
        return super().forward(x, self.conv_offset(x))


class ModulatedDeformConv2d(_DeformLayer):
    """Deformable convolution with given offsets and masks: Deformable ConvNets v2, arXiv 1811.11168.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along y and x.
        stride: Pixels of the input from one output to the next.
        padding: Pixels by which the first output's taps start before the map.
        dilation: Pixels between taps.
        groups: Parts of the channels that are convolved apart.
        deform_groups: Parts of the channels that have their own offsets and masks.
        bias: Whether to add a learned bias.

    Raises:
        ValueError: Groups do not divide channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups)
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.init_weights()

    def init_weights(self) -> None:
        """Uniform weights within 1 / sqrt(fan in), a bias of 0."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (b, in_channels, h, w).
            offset: (b, deform_groups * kh * kw * 2, h_out, w_out), y then x of each tap.
            mask: (b, deform_groups * kh * kw, h_out, w_out).

        Returns:
            (b, out_channels, h_out, w_out).
        """
        return modulated_deform_conv2d(
            x,
            offset,
            mask,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
        )


class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    """Modulated deformable convolution that predicts offsets and masks from its input; ``DCNv2`` in configs.

    The arguments are those of ``ModulatedDeformConv2d``. ``conv_offset``, a convolution of the same geometry that
    starts at zero, puts out the offsets and the logits of the masks.
    """

    predictions_per_tap = 3

    def init_weights(self) -> None:
        """Initialize as the base class does; start from the regular grid of taps with masks of 1/2."""
        super().init_weights()
        self.init_offset()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, h_out, w_out)."""
        first, second, mask = self.conv_offset(x).chunk(3, dim=1)
        return super().forward(x, torch.cat([first, second], dim=1), mask.sigmoid())
