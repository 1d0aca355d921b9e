"""The bidirectional pyramid of EfficientDet: Scalable and Efficient Object Detection, arXiv 1911.09070."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import SeparableConv, build_norm_layer
from mmdetlike.registry import MODELS

from .inputs import PyramidNeck

NUM_INS = 3  # P3 to P5; two coarser levels are made of P5
DEFAULT_NORM = dict(type='BN', momentum=1e-2, eps=1e-3)
# the least sum of the weights of a fusion, equation (3) of the paper
EPS = 1e-4
# the weights of which fusions there are, and of how many maps: top down (w1) those of a level and the coarser one;
# bottom up (w2) those of a level, its top-down map (but for P7, which has none) and the finer one
FUSIONS = dict(p6_w1=2, p5_w1=2, p4_w1=2, p3_w1=2, p4_w2=3, p5_w2=3, p6_w2=3, p7_w2=2)


@MODELS.register_module()
class BiFPN(PyramidNeck):
    """Pyramids of weighted fusions, top down and bottom up, one after the other.

    Args:
        num_stages: How many.
        in_channels, start_level: As of ``PyramidNeck``; three maps must be used.
        out_channels: Channels of every map put out.
        norm_cfg: Norm layer of all convolutions.

    Raises:
        ConfigError: Not three backbone maps are used.
    """

    def __init__(
        self,
        num_stages: int,
        in_channels: Sequence[int],
        out_channels: int,
        start_level: int = 0,
        norm_cfg: dict = DEFAULT_NORM,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, start_level, -1, init_cfg)
        used = self.used_channels
        if len(used) != NUM_INS:
            raise ConfigError(
                f'BiFPN makes P3 to P7 of {NUM_INS} backbone maps, but got in_channels={list(in_channels)} and '
                f'start_level={start_level}, which leave {len(used)}'
            )
        stages = [FirstBiFPNStage(used, out_channels, norm_cfg)]
        stages += [BiFPNStage(out_channels, norm_cfg) for _ in range(num_stages - 1)]
        self.bifpn = nn.ModuleList(stages)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> 5 maps (B, out_channels, ., .), each half of the last."""
        pyramid = self.used_maps(inputs)
        for stage in self.bifpn:
            pyramid = stage(pyramid)
        return tuple(pyramid)


class BiFPNStage(nn.Module):
    """One pyramid: a top-down path from P7 to P3, and a bottom-up path back to P7."""

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        for name, count in FUSIONS.items():
            self.register_parameter(name, nn.Parameter(torch.ones(count)))
            direction = 'up' if name.endswith('w1') else 'down'  # as checkpoints name it
            self.add_module(f'conv{name[1]}_{direction}', SeparableConv(channels, channels, norm_cfg))

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Maps P3 to P7 -> maps of the same shapes."""
        return self.fuse(pyramid, pyramid)

    def fuse(self, pyramid: Sequence[Tensor], skipped: Sequence[Tensor]) -> list[Tensor]:
        """Both paths: the top-down one starts from ``pyramid``, the bottom-up one adds the maps ``skipped``."""
        p3, p4, p5, p6, p7 = pyramid
        p6_up = self.conv6_up(fusion(self.p6_w1, p6, enlarged(p7, p6)))
        p5_up = self.conv5_up(fusion(self.p5_w1, p5, enlarged(p6_up, p5)))
        p4_up = self.conv4_up(fusion(self.p4_w1, p4, enlarged(p5_up, p4)))
        p3 = self.conv3_up(fusion(self.p3_w1, p3, enlarged(p4_up, p3)))
        p4 = self.conv4_down(fusion(self.p4_w2, skipped[1], p4_up, halved(p3)))
        p5 = self.conv5_down(fusion(self.p5_w2, skipped[2], p5_up, halved(p4)))
        p6 = self.conv6_down(fusion(self.p6_w2, p6, p6_up, halved(p5)))
        p7 = self.conv7_down(fusion(self.p7_w2, p7, halved(p6)))
        return [p3, p4, p5, p6, p7]


class FirstBiFPNStage(BiFPNStage):
    """The first pyramid: it makes P6 and P7, and brings backbone maps to its width, P4 and P5 for each path anew."""

    def __init__(self, in_channels: Sequence[int], channels: int, norm_cfg: dict) -> None:
        super().__init__(channels, norm_cfg)
        for level, width in zip((3, 4, 5), in_channels):
            self.add_module(f'p{level}_down_channel', Lateral(width, channels, norm_cfg))
        for level, width in zip((4, 5), in_channels[1:]):
            self.add_module(f'p{level}_level_connection', Lateral(width, channels, norm_cfg))
        self.p5_to_p6 = nn.ModuleList([Lateral(in_channels[-1], channels, norm_cfg)])

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps P3 to P5 -> maps P3 to P7."""
        c3, c4, c5 = pyramid
        p6 = halved(self.p5_to_p6[0](c5))
        first = [self.p3_down_channel(c3), self.p4_down_channel(c4), self.p5_down_channel(c5), p6, halved(p6)]
        skipped = [first[0], self.p4_level_connection(c4), self.p5_level_connection(c5)]
        return self.fuse(first, skipped)


class Lateral(nn.Module):
    """A 1x1 convolution with a norm layer."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.down_conv = nn.Conv2d(in_channels, out_channels, 1)
        self.bn = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.bn(self.down_conv(x))


def fusion(weights: Tensor, *maps: Tensor) -> Tensor:
    """Swish of the mean of maps of one shape by learned ``weights``: the fast normalized fusion of the paper."""
    weights = F.relu(weights)
    weights = weights / (weights.sum() + EPS)
    return F.silu(sum(weight * x for weight, x in zip(weights, maps)))


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """``x`` (B, C, ., .) at the size of the map ``like``, by the nearest pixel."""
    return F.interpolate(x, size=like.shape[2:], mode='nearest')


def halved(x: Tensor) -> Tensor:
    """The maximum of windows of 3x3, which lie 2 apart: (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2)).

    As TensorFlow pads, the first window begins with the map where its side is even.
    """
    height, width = x.shape[2:]
    before = (height % 2, width % 2)
    x = F.pad(x, (before[1], 1, before[0], 1), value=float('-inf'))
    return F.max_pool2d(x, 3, stride=2)
