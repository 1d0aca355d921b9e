"""The neck of YOLOF, which has one level: You Only Look One-level Feature, arXiv 2103.09460."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

NORM = dict(type='BN', requires_grad=True)


class DilatedBottleneck(nn.Module):
    """Three convolutions, the middle one dilated, beside a shortcut."""

    def __init__(self, channels: int, mid_channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, mid_channels, 1, norm_cfg=NORM)
        self.conv2 = ConvModule(mid_channels, mid_channels, 3, padding=dilation, dilation=dilation, norm_cfg=NORM)
        self.conv3 = ConvModule(mid_channels, channels, 1, norm_cfg=NORM)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, C, H, W) -> one of the same shape."""
        return x + self.conv3(self.conv2(self.conv1(x)))


@MODELS.register_module()
class DilatedEncoder(BaseModule):
    """Give the last backbone map receptive fields of many sizes, by residual blocks of rising dilation.

    Args:
        in_channels, out_channels: Channels of the last backbone map and of the one put out.
        block_mid_channels: Channels inside the blocks.
        num_residual_blocks, block_dilations: Number of blocks, and the dilation of each.

    Raises:
        ValueError: There is another number of dilations than of blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        block_mid_channels: int,
        num_residual_blocks: int,
        block_dilations: Sequence[int],
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Caffe2Xavier', layer='Conv2d'))
        if len(block_dilations) != num_residual_blocks:
            raise ValueError(f'num_residual_blocks={num_residual_blocks} blocks need as many, got {block_dilations=}')
        self.lateral_conv = nn.Conv2d(in_channels, out_channels, 1)
        self.lateral_norm = nn.BatchNorm2d(out_channels)
        self.fpn_conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.fpn_norm = nn.BatchNorm2d(out_channels)
        blocks = [DilatedBottleneck(out_channels, block_mid_channels, dilation) for dilation in block_dilations]
        self.dilated_encoder_blocks = nn.Sequential(*blocks)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Backbone maps, of which the last (B, C, H, W) is used -> one map (B, out_channels, H, W)."""
        # the paper's projector, without activations as in FPN
        x = self.lateral_norm(self.lateral_conv(inputs[-1]))
        x = self.fpn_norm(self.fpn_conv(x))
        return (self.dilated_encoder_blocks(x),)
