"""Blocks of YOLOX, arXiv 2107.08430, and RTMDet, arXiv 2212.07784.

Cross stage partial blocks (CSPNet, arXiv 1911.11929), a stem that folds pixels into channels, and pyramid pooling.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from .conv_module import ConvModule, DepthwiseSeparableConvModule
from .se_layer import ChannelAttention

BN_OF_YOLO = {'type': 'BN', 'momentum': 0.03, 'eps': 0.001}
SWISH = {'type': 'Swish'}
# torch's own initialization of convolutions, written out: mmengine would draw them otherwise
YOLO_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=math.sqrt(5),
    distribution='uniform',
    mode='fan_in',
    nonlinearity='leaky_relu',
)


def conv_class(use_depthwise: bool) -> type[nn.Module]:
    """The convolution block that networks of this family are made of."""
    return DepthwiseSeparableConvModule if use_depthwise else ConvModule


class DarknetBottleneck(BaseModule):
    """A 1x1 and a 3x3 convolution around a shortcut; by default with the norm layer and the activation of YOLOX.

    Args:
        expansion: Channels between the convolutions as a share of ``out_channels``.
        add_identity: Whether there is a shortcut, where channels agree.
        use_depthwise: Make the 3x3 convolution depthwise separable.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_OF_YOLO,
        act_cfg: dict | None = SWISH,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.add_identity = add_identity and in_channels == out_channels
        hidden = int(out_channels * expansion)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self._add_convs(in_channels, hidden, out_channels, use_depthwise, layers)

    def _add_convs(self, in_channels: int, hidden: int, out_channels: int, use_depthwise: bool, layers: dict) -> None:
        self.conv1 = ConvModule(in_channels, hidden, 1, **layers)
        self.conv2 = conv_class(use_depthwise)(hidden, out_channels, 3, padding=1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        out = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class CSPNeXtBlock(DarknetBottleneck):
    """A 3x3 and a large depthwise separable convolution, of ``kernel_size``, around a shortcut.

    ``use_depthwise`` makes the 3x3 convolution depthwise separable too; other arguments as of ``DarknetBottleneck``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        kernel_size: int = 5,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_OF_YOLO,
        act_cfg: dict | None = SWISH,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        # before ``super``, which makes the convolutions
        self.kernel_size = kernel_size
        super().__init__(
            in_channels, out_channels, expansion, add_identity, use_depthwise, conv_cfg, norm_cfg, act_cfg, init_cfg
        )

    def _add_convs(self, in_channels: int, hidden: int, out_channels: int, use_depthwise: bool, layers: dict) -> None:
        large = dict(kernel_size=self.kernel_size, padding=self.kernel_size // 2)
        self.conv1 = conv_class(use_depthwise)(in_channels, hidden, 3, padding=1, **layers)
        self.conv2 = DepthwiseSeparableConvModule(hidden, out_channels, **large, **layers)


class CSPLayer(BaseModule):
    """Cross stage partial layer: blocks on one part of the channels, joined with another part that bypasses them.

    Args:
        expand_ratio: Channels of each part as a share of ``out_channels``.
        num_blocks: Number of blocks.
        add_identity, use_depthwise: As of ``DarknetBottleneck``, for the blocks.
        use_cspnext_block: Blocks are ``CSPNeXtBlock``; ``DarknetBottleneck`` where False.
        channel_attention: Weigh the channels of the joined parts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        use_cspnext_block: bool = False,
        channel_attention: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_OF_YOLO,
        act_cfg: dict | None = SWISH,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        width = int(out_channels * expand_ratio)
        self.main_conv = ConvModule(in_channels, width, 1, **layers)
        self.short_conv = ConvModule(in_channels, width, 1, **layers)
        self.final_conv = ConvModule(2 * width, out_channels, 1, **layers)
        block = CSPNeXtBlock if use_cspnext_block else DarknetBottleneck
        shared = dict(expansion=1.0, add_identity=add_identity, use_depthwise=use_depthwise, **layers)
        self.blocks = nn.Sequential(*[block(width, width, **shared) for _ in range(num_blocks)])
        self.attention = ChannelAttention(2 * width) if channel_attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        joined = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        return self.final_conv(self.attention(joined))


class Focus(nn.Module):
    """Fold each 2x2 pixels into channels, then convolve (YOLOX, arXiv 2107.08430).

    The channels of the four pixels follow each other as upper left, lower left, upper right, lower right.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_OF_YOLO,
        act_cfg: dict | None = SWISH,
    ) -> None:
        super().__init__()
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        padding = (kernel_size - 1) // 2
        self.conv = ConvModule(in_channels * 4, out_channels, kernel_size, stride, padding, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W), sides even (else ``ValueError``) -> (B, out_channels, H / 2, W / 2) at stride 1."""
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            raise ValueError(f'Focus halves its input, whose sides must be even, got {tuple(x.shape[-2:])}')
        # left column first: the order of channels in which weights were trained
        corners = [x[..., top::2, left::2] for left in (0, 1) for top in (0, 1)]
        return self.conv(torch.cat(corners, dim=1))


class SPPBottleneck(BaseModule):
    """Pool at several sizes and join: Spatial Pyramid Pooling, arXiv 1406.4729, as in YOLOv3-SPP.

    Raises:
        ValueError: ``kernel_sizes``, the sides of the pooling windows, are not odd and ascending.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_OF_YOLO,
        act_cfg: dict | None = SWISH,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if any(size % 2 == 0 for size in kernel_sizes) or any(a >= b for a, b in pairwise(kernel_sizes)):
            raise ValueError(f'kernel_sizes must be odd and ascending, got {tuple(kernel_sizes)}')
        hidden = in_channels // 2
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(in_channels, hidden, 1, **layers)
        # a window of 9 is a window of 5 over windows of 5: each pooling goes on where the one before ended
        steps = [b - a + 1 for a, b in pairwise([1, *kernel_sizes])]
        self.poolings = nn.ModuleList(nn.MaxPool2d(step, stride=1, padding=step // 2) for step in steps)
        self.conv2 = ConvModule(hidden * (len(kernel_sizes) + 1), out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        outs = [self.conv1(x)]
        for pooling in self.poolings:
            outs.append(pooling(outs[-1]))
        return self.conv2(torch.cat(outs, dim=1))
