"""Res2Net: A New Multi-Scale Backbone Architecture, arXiv 1904.01169."""

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import build_norm_layer
from mmdetlike.registry import MODELS

from .resnet import Bottleneck, ResNet, bottleneck_archs


class Res2NetBottleneck(Bottleneck):
    """A bottleneck whose 3x3 convolution is a hierarchy over groups of channels.

    The channels inside are split in ``scales`` groups. The first passes a 3x3 convolution, and each further one, added
    to the result of the one before, its own; the last group is taken as it is. So the groups see regions of different
    sizes. In the first block of a stage, where shapes change, the groups are not added, and the last one is pooled.
    """

    def build_layers(self, scales: int = 4, base_width: int = 26, base_channels: int = 64) -> None:
        if scales < 2:
            raise ValueError(f'scales must be at least 2, got {scales}; with one scale it is a ResNet')
        self.width = self.channels * base_width // base_channels
        self.build_bottleneck(self.width * scales, scales=scales)

    def build_middle(self, width: int, stride: int, scales: int) -> None:
        self.convs = nn.ModuleList(self.conv3x3(self.width, stride) for _ in range(scales - 1))
        self.bns = nn.ModuleList(build_norm_layer(self.norm_cfg, self.width)[1] for _ in range(scales - 1))
        self.pool = nn.AvgPool2d(3, stride=stride, padding=1) if stride > 1 else nn.Identity()
        self.conv_names.append(('convs', 'bns'))

    @property
    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """Convolutions and norms that run one after the other, for ``fuse_conv_bn``."""
        inner = [(f'convs.{i}', f'bns.{i}') for i in range(len(self.convs))]
        return [self.conv_names[0], *inner, self.conv_names[-1]]

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        return self._hierarchy(x) if self.conv_names[index][0] == 'convs' else super().run_layer(index, x)

    def _hierarchy(self, x: Tensor) -> Tensor:
        # where a stage strides, a group is larger than what the one before it has become
        first_of_stage = self.downsample is not None
        *groups, last = x.split(self.width, dim=1)
        outs: list[Tensor] = []
        for group, conv, norm in zip(groups, self.convs, self.bns):
            if outs and not first_of_stage:
                group = group + outs[-1]
            outs.append(self.relu(norm(conv(group))))
        return torch.cat([*outs, self.pool(last)], dim=1)


@MODELS.register_module()
class Res2Net(ResNet):
    """Res2Net backbone.

    Args:
        scales: Groups of channels in a block.
        base_width: Channels of a group in the first stage.
        **kwargs: As of ``ResNet``, with ``deep_stem`` and ``avg_down``; ``depth`` is 50, 101 or 152.

    Raises:
        ValueError: ``scales`` is below 2.
    """

    arch_settings = bottleneck_archs(Res2NetBottleneck)

    def __init__(
        self,
        scales: int = 4,
        base_width: int = 26,
        deep_stem: bool = True,
        avg_down: bool = True,
        base_channels: int = 64,
        **kwargs,
    ) -> None:
        block_args = dict(scales=scales, base_width=base_width, base_channels=base_channels)
        stem = dict(deep_stem=deep_stem, avg_down=avg_down)
        super().__init__(base_channels=base_channels, block_args=block_args, **stem, **kwargs)
