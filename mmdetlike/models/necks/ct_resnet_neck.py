"""Upsampling of CenterNet: Objects as Points, arXiv 1904.07850."""

import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS


@MODELS.register_module()
class CTResNetNeck(BaseModule):
    """Bring the last backbone map to a finer level by convolutions and transposed convolutions in turn.

    Args:
        in_channels: Channels of the last backbone map.
        num_deconv_filters, num_deconv_kernels: Channels and kernel of the transposed convolutions, which double a map.
        use_dcn: Make the convolutions deformable (DCNv2).
        in_channel: What toolbox 2.x calls ``in_channels``.

    Raises:
        ValueError: No number of channels or no filters are given, or ``num_deconv_filters`` and
            ``num_deconv_kernels`` differ in number.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        num_deconv_filters: Sequence[int] = (),
        num_deconv_kernels: Sequence[int] = (),
        use_dcn: bool = True,
        init_cfg: dict | list[dict] | None = None,
        in_channel: int | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if (in_channels is None) == (in_channel is None) or not num_deconv_filters:
            raise ValueError(
                'CTResNetNeck needs either in_channels or in_channel, and num_deconv_filters; got '
                f'{in_channels}, {in_channel} and {list(num_deconv_filters)}'
            )
        in_channels = in_channel if in_channels is None else in_channels
        if len(num_deconv_filters) != len(num_deconv_kernels):
            raise ValueError(
                'num_deconv_filters and num_deconv_kernels must have the same length, got '
                f'{list(num_deconv_filters)} and {list(num_deconv_kernels)}'
            )
        self.in_channels, self.use_dcn = in_channels, use_dcn
        conv_cfg = dict(type='DCNv2') if use_dcn else None
        norm_cfg = dict(type='BN')
        layers, channels = [], in_channels
        for width, kernel in zip(num_deconv_filters, num_deconv_kernels):
            upsample = dict(stride=2, padding=1, conv_cfg=dict(type='deconv'), norm_cfg=norm_cfg)
            layers.append(ConvModule(channels, width, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg))
            layers.append(ConvModule(width, width, kernel, **upsample))
            channels = width
        self.deconv_layers = nn.Sequential(*layers)

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, transposed convolutions in part as bilinear upsampling."""
        super().init_weights()
        for module in self.modules():
            is_plain_conv = isinstance(module, nn.Conv2d) and not self.use_dcn
            if is_plain_conv or isinstance(module, (nn.ConvTranspose2d, nn.BatchNorm2d)):
                # as torch draws them; ConvModule has made them another way
                module.reset_parameters()
            if isinstance(module, nn.ConvTranspose2d):
                # As recorded of the original, which takes the layer for a depthwise one: the first output channel alone
                # begins as bilinear upsampling, of the sum of all inputs.
                with torch.no_grad():
                    module.weight[:, 0] = bilinear_kernel(module.kernel_size[0])

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor]:
        """Backbone maps, of which the last one (B, in_channels, H, W) counts -> one map (B, C, H * 2**n, W * 2**n)."""
        return (self.deconv_layers(x[-1]),)


def bilinear_kernel(size: int) -> Tensor:
    """Kernel (size, size) of a transposed convolution that doubles a map by bilinear interpolation."""
    factor = math.ceil(size / 2)
    center = (2 * factor - 1 - factor % 2) / (2 * factor)
    weights = 1 - (torch.arange(size) / factor - center).abs()
    return weights[:, None] * weights
