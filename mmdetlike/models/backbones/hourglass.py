"""Hourglass networks: Stacked Hourglass Networks, arXiv 1603.06937, in the shape of CornerNet, arXiv 1808.01244."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .res_layer import ResLayer, build_stage
from .resnet import BasicBlock
from .staged import weight_init

STEM_CHANNELS = 128


class HourglassModule(BaseModule):
    """Halve the map, work on it, double it again and add what was kept at the full size.

    Each size holds a smaller hourglass, down to plain blocks. ``channels`` and ``num_blocks``, of residual blocks, are
    those at this size and at each smaller one.
    """

    def __init__(self, channels: Sequence[int], num_blocks: Sequence[int], norm_cfg: dict) -> None:
        super().__init__()
        outer, inner = channels[:2]
        blocks = num_blocks[0]
        self.up1 = build_stage(BasicBlock, outer, outer, blocks, norm_cfg=norm_cfg)
        self.low1 = build_stage(BasicBlock, outer, inner, blocks, stride=2, norm_cfg=norm_cfg)
        if len(channels) > 2:
            self.low2: nn.Module = HourglassModule(channels[1:], num_blocks[1:], norm_cfg)
        else:
            self.low2 = build_stage(BasicBlock, inner, inner, num_blocks[1], norm_cfg=norm_cfg)
        self.low3 = ResLayer(BasicBlock, inner, outer, blocks, norm_cfg=norm_cfg, downsample_first=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        full = self.up1(x)
        low = self.low3(self.low2(self.low1(x)))
        # to the size, not by the factor: a side that two doesn't divide is rounded up when it is halved
        return full + F.interpolate(low, size=full.shape[-2:])


@MODELS.register_module()
class HourglassNet(BaseModule):
    """Hourglasses in a row, each of which puts out a map; the next one begins with what it and the one before saw.

    Args:
        downsample_times, num_stacks: How many times an hourglass halves its map, and how many hourglasses there are.
        stage_channels, stage_blocks: Channels, and residual blocks, at each of ``downsample_times + 1`` sizes.
        feat_channel: Channels of the maps that are put out.
        norm_cfg: Norm layers.
        pretrained: Checkpoint to start from, in place of ``init_cfg``.
        init_cfg: Weight initialization; torch's own where None.

    Raises:
        ValueError: There is no hourglass, or the numbers of sizes don't agree.
    """

    def __init__(
        self,
        downsample_times: int = 5,
        num_stacks: int = 2,
        stage_channels: Sequence[int] = (256, 256, 384, 384, 384, 512),
        stage_blocks: Sequence[int] = (2, 2, 2, 2, 2, 4),
        feat_channel: int = 256,
        norm_cfg: dict = {'type': 'BN', 'requires_grad': True},  # noqa: B006
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg if pretrained is None else weight_init(pretrained, init_cfg))
        check_sizes(downsample_times, num_stacks, stage_channels, stage_blocks)
        sizes = downsample_times + 1
        channels = stage_channels[0]
        self.num_stacks = num_stacks
        self.stem = nn.Sequential(
            ConvModule(3, STEM_CHANNELS, 7, stride=2, padding=3, norm_cfg=norm_cfg),
            build_stage(BasicBlock, STEM_CHANNELS, channels, 1, stride=2, norm_cfg=norm_cfg),
        )
        hourglass = (stage_channels[:sizes], stage_blocks[:sizes], norm_cfg)
        self.hourglass_modules = nn.ModuleList(HourglassModule(*hourglass) for _ in range(num_stacks))
        self.out_convs = nn.ModuleList(
            ConvModule(channels, feat_channel, 3, padding=1, norm_cfg=norm_cfg) for _ in range(num_stacks)
        )
        links = range(num_stacks - 1)
        linear = dict(norm_cfg=norm_cfg, act_cfg=None)
        self.inters = build_stage(BasicBlock, channels, channels, num_stacks - 1, norm_cfg=norm_cfg) if links else None
        self.conv1x1s = nn.ModuleList(ConvModule(channels, channels, 1, **linear) for _ in links)
        self.remap_convs = nn.ModuleList(ConvModule(feat_channel, channels, 1, **linear) for _ in links)

    def init_weights(self) -> None:
        """As ``init_cfg`` says; convolutions by torch's own rule where it is None, which CornerNet was trained from."""
        if self.init_cfg is not None:
            super().init_weights()
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) -> the map (B, feat_channel, H / 4, W / 4) of each hourglass."""
        current = self.stem(x)
        maps = []
        for i in range(self.num_stacks):
            found = self.out_convs[i](self.hourglass_modules[i](current))
            maps.append(found)
            if i < self.num_stacks - 1:
                joined = self.conv1x1s[i](current) + self.remap_convs[i](found)
                current = self.inters[i](joined.relu())
        return maps


def check_sizes(downsample_times: int, num_stacks: int, channels: Sequence[int], blocks: Sequence[int]) -> None:
    """Raise ``ValueError`` where ``HourglassNet``'s numbers don't go together."""
    if num_stacks < 1 or downsample_times < 1:
        raise ValueError(
            f'HourglassNet needs num_stacks and downsample_times of at least 1, got {num_stacks} and {downsample_times}'
        )
    if len(channels) != len(blocks) or len(channels) <= downsample_times:
        raise ValueError(
            f'HourglassNet needs stage_channels and stage_blocks for each of downsample_times + 1 = '
            f'{downsample_times + 1} sizes, got {len(channels)} and {len(blocks)}'
        )
