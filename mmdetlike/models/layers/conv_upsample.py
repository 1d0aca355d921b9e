"""Convolutions with upsampling in between: the branches of Panoptic FPN's semantic head."""

import itertools

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from .conv_module import ConvModule


class ConvUpsample(BaseModule):
    """3x3 ``ConvModule`` layers, the first ones each followed by bilinear upsampling by 2 (Panoptic FPN,
    arXiv 1901.02446).

    Args:
        in_channels: Channels of the input.
        inner_channels: Channels of the layers.
        num_layers: Number of layers.
        num_upsample: How many of them are followed by upsampling, by default all; not more than there are.
        conv_cfg, norm_cfg, act_cfg: As of ``ConvModule``.
        init_cfg: Weight initialization.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        num_layers: int = 1,
        num_upsample: int | None = None,
        init_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = {'type': 'ReLU'},  # noqa: B006
    ) -> None:
        super().__init__(init_cfg)
        self.num_layers = num_layers
        self.num_upsample = num_layers if num_upsample is None else num_upsample
        if self.num_upsample > num_layers:
            raise ValueError(f'num_upsample={self.num_upsample} must not be more than num_layers={num_layers}.')
        widths = [in_channels] + [inner_channels] * num_layers
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv = nn.ModuleList(ConvModule(a, b, 3, padding=1, **layer) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, inner_channels, H * 2 ** num_upsample, W * 2 ** num_upsample)."""
        for i, conv in enumerate(self.conv):
            x = conv(x)
            if i < self.num_upsample:
                x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
        return x
