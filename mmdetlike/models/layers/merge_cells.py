"""Cells that merge two feature maps into one: NAS-FPN, arXiv 1904.07392."""

import warnings
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .conv_module import ConvModule

OUT_CONV = dict(kernel_size=3, padding=1, order=('act', 'conv', 'norm'))


class MergeCell(nn.Module):
    """Two maps of any sizes are brought to one size, merged as ``merge`` says, and perhaps convolved.

    The convolution has an activation before and a norm after it.
    """

    def __init__(self, channels: int, with_out_conv: bool = True, norm_cfg: dict | None = None) -> None:
        super().__init__()
        self.with_out_conv = with_out_conv
        if with_out_conv:
            with warnings.catch_warnings():
                # a norm makes the bias useless, but checkpoints have it
                warnings.filterwarnings('ignore', 'The bias of a conv')
                self.out_conv = ConvModule(channels, channels, bias=True, norm_cfg=norm_cfg, inplace=False, **OUT_CONV)

    def forward(self, first: Tensor, second: Tensor, out_size: Sequence[int]) -> Tensor:
        """Map two maps (B, channels, ., .) to one (B, channels, *out_size)."""
        merged = self.merge(resized_to(first, out_size), resized_to(second, out_size))
        return self.out_conv(merged) if self.with_out_conv else merged

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps (B, channels, H, W) as one of the same shape."""
        raise NotImplementedError


class SumCell(MergeCell):
    """The sum of both maps."""

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        return first + second


class GlobalPoolingCell(MergeCell):
    """The second map, and the first one weighted by the second's mean of each channel."""

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        attention = F.adaptive_avg_pool2d(second, 1).sigmoid()
        return second + attention * first


def resized_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """``x`` (B, C, H, W) at ``size``: enlarged by the nearest pixel, shrunk by the maximum of those that fall together.

    A map that is no multiple of the smaller size is padded with zeros first, half of them on each side.
    """
    height, width = size
    if tuple(x.shape[2:]) == (height, width):
        return x
    if x.shape[2] < height or x.shape[3] < width:
        return F.interpolate(x, size=tuple(size), mode='nearest')
    missing_y = -x.shape[2] % height
    missing_x = -x.shape[3] % width
    before_y = missing_y // 2
    before_x = missing_x // 2
    x = F.pad(x, (before_x, missing_x - before_x, before_y, missing_y - before_y))
    kernel = (x.shape[2] // height, x.shape[3] // width)
    return F.max_pool2d(x, kernel, stride=kernel)
