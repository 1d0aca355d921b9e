"""The convolution of EfficientDet (arXiv 1911.09070): depthwise, then pointwise."""

from torch import Tensor, nn

from mmdetlike_ops import Conv2dAdaptivePadding

from .norm import build_norm_layer


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, and a norm layer if one is given.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        norm_cfg: Norm layer; None for none.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict | None = None) -> None:
        super().__init__()
        self.depthwise_conv = Conv2dAdaptivePadding(in_channels, in_channels, 3, groups=in_channels, bias=False)
        # checkpoints have the bias also where a norm follows
        self.pointwise_conv = nn.Conv2d(in_channels, out_channels, 1)
        self.bn = nn.Identity() if norm_cfg is None else build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.bn(self.pointwise_conv(self.depthwise_conv(x)))
