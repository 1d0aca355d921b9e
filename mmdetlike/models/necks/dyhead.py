"""Dynamic Head: Unifying Object Detection Heads with Attentions, arXiv 2106.08322."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule, constant_init, normal_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import DyReLU, HSigmoid, build_norm_layer
from mmdetlike.registry import MODELS
from mmdetlike_ops import ModulatedDeformConv2d

# taps of a 3x3 kernel: each has an offset along y and x, and a mask
TAPS = 9


class DyDCNv2(nn.Module):
    """A modulated deformable 3x3 convolution with given offsets and masks, and a norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = ModulatedDeformConv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm = build_norm_layer(dict(type='GN', num_groups=16), out_channels)[1]

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out_channels, h', w'), given ``offset`` (B, 18, h', w') and ``mask`` (B, 9, h', w')."""
        return self.norm(self.conv(x, offset.to(x.dtype), mask.to(x.dtype)))


class DyHeadBlock(nn.Module):
    """One round of attention over space, then scale (levels), then tasks (channels); arguments of ``DyHead``."""

    def __init__(self, in_channels: int, out_channels: int, zero_init_offset: bool) -> None:
        super().__init__()
        self.zero_init_offset = zero_init_offset
        self.spatial_conv_high = DyDCNv2(in_channels, out_channels)
        self.spatial_conv_mid = DyDCNv2(in_channels, out_channels)
        self.spatial_conv_low = DyDCNv2(in_channels, out_channels, stride=2)
        self.spatial_conv_offset = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        self.scale_attn_module = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(out_channels, 1, 1), nn.ReLU(), HSigmoid()
        )
        self.task_attn_module = DyReLU(out_channels)
        # the blocks of a sequence are not asked to, as mmengine asks its own modules alone
        self.init_weights()

    def init_weights(self) -> None:
        """Draw convolutions from a normal distribution; offsets begin at 0 and masks at 0.5."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                normal_init(module, std=0.01)
        if self.zero_init_offset:
            constant_init(self.spatial_conv_offset, 0)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid maps (B, C, H_i, W_i), fine to coarse -> maps (B, out_channels, H_i, W_i)."""
        return [self.task_attn_module(self.mix_levels(x, level)) for level in range(len(x))]

    def mix_levels(self, x: Sequence[Tensor], level: int) -> Tensor:
        """The mean (B, out_channels, H, W) of a level and its neighbors, weighted, seen from that level."""
        offset, mask = self.spatial_conv_offset(x[level]).split([2 * TAPS, TAPS], dim=1)
        mask = mask.sigmoid()
        size = x[level].shape[-2:]
        feats = [self.spatial_conv_mid(x[level], offset, mask)]
        if level > 0:
            feats.append(self.spatial_conv_low(x[level - 1], offset, mask))
        if level + 1 < len(x):
            coarse_size = x[level + 1].shape[-2:]
            coarse_offset = first_values(offset, coarse_size)
            coarse_mask = first_values(mask, coarse_size)
            coarse = self.spatial_conv_high(x[level + 1], coarse_offset, coarse_mask)
            feats.append(F.interpolate(coarse, size=size, mode='bilinear', align_corners=True))
        return sum(feat * self.scale_attn_module(feat) for feat in feats) / len(feats)


def first_values(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first C * h * w numbers of each image of ``x`` (B, C, H, W), as a map (B, C, h, w).

    The authors convolve a coarse map with the offsets of a finer one, whose numbers their kernel reads as if they were
    of the coarse map's size. Nobody would design it so, but published weights are trained with it.
    """
    batch, channels = x.shape[:2]
    height, width = size
    return x.flatten(1)[:, : channels * height * width].view(batch, channels, height, width)


@MODELS.register_module()
class DyHead(BaseModule):
    """Blocks of attention over space, levels and channels, between a pyramid and a head.

    Args:
        in_channels, out_channels: Channels of the pyramid's feature maps and of those put out.
        num_blocks: Number of blocks.
        zero_init_offset: Start with the regular grid of taps in deformable convolutions.
        init_cfg: Must be None: the blocks initialize themselves.

    Raises:
        ConfigError: ``init_cfg`` is given.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 6,
        zero_init_offset: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is not None:
            raise ConfigError(f'DyHead initializes itself, so init_cfg must be None, got {init_cfg}')
        super().__init__()
        widths = [in_channels] + [out_channels] * (num_blocks - 1)
        self.dyhead_blocks = nn.Sequential(*[DyHeadBlock(width, out_channels, zero_init_offset) for width in widths])

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Pyramid maps (B, C, H_i, W_i), fine to coarse -> maps (B, out_channels, H_i, W_i)."""
        return tuple(self.dyhead_blocks(inputs))
