"""ResNets with other bottlenecks: ResNeXt, arXiv 1611.05431, Res2Net, arXiv 1904.01169, ResNeSt, arXiv 2004.08955."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import build_conv_layer, build_norm_layer
from mmdetlike.registry import MODELS

from .resnet import Bottleneck, ResNet, bottleneck_archs


def grouped_width(channels: int, groups: int, base_width: int, base_channels: int) -> int:
    """Channels inside a grouped bottleneck of base width ``channels``: ``groups`` times the width of one group.

    One group has ``base_width`` channels in the first stage, where ``channels`` is ``base_channels``, and twice as many
    in each further one. A single group is as wide as the block's base width.
    """
    return channels if groups == 1 else channels * base_width // base_channels * groups


class ResNeXtBottleneck(Bottleneck):
    """1x1, grouped 3x3 and 1x1 convolutions."""

    def build_layers(self, groups: int = 1, base_width: int = 4, base_channels: int = 64) -> None:
        self.build_bottleneck(grouped_width(self.channels, groups, base_width, base_channels), groups=groups)


@MODELS.register_module()
class ResNeXt(ResNet):
    """ResNeXt backbone.

    Args:
        groups: Groups of the 3x3 convolutions, the cardinality: 32 in ResNeXt-101 32x4d.
        base_width: Channels of a group in the first stage: 4 in ResNeXt-101 32x4d.
        base_channels: Width of the first stage.
        **kwargs: As of ``ResNet``; ``depth`` is 50, 101 or 152.
    """

    arch_settings = bottleneck_archs(ResNeXtBottleneck)

    def __init__(
        self,
        groups: int = 1,
        base_width: int = 4,
        base_channels: int = 64,
        block_args: dict | None = None,
        **kwargs,
    ) -> None:
        grouping = dict(groups=groups, base_width=base_width, base_channels=base_channels)
        super().__init__(base_channels=base_channels, block_args={**grouping, **(block_args or {})}, **kwargs)


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


class SplitAttentionConv2d(BaseModule):
    """A convolution to ``radix`` splits of ``channels``, which are weighed by an attention over them and summed.

    A ``radix`` of 1 makes it a squeeze-and-excitation of the convolution's output. ``reduction_factor`` is the ratio of
    the splits' channels to those inside the attention, which are at least 32.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        radix: int = 2,
        reduction_factor: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.radix, self.groups = radix, groups
        norm_cfg = norm_cfg or dict(type='BN')
        # the first stages have so few channels that dividing them by the factor would leave next to none
        inner = max(in_channels * radix // reduction_factor, 32)
        shape = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups * radix)
        self.conv = build_conv_layer(conv_cfg, in_channels, channels * radix, bias=False, **shape)
        self._norm0, norm0 = build_norm_layer(norm_cfg, channels * radix, postfix=0)
        self.add_module(self._norm0, norm0)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = build_conv_layer(None, channels, inner, 1, groups=groups)
        self._norm1, norm1 = build_norm_layer(norm_cfg, inner, postfix=1)
        self.add_module(self._norm1, norm1)
        self.fc2 = build_conv_layer(None, inner, channels * radix, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride), none of it negative."""
        x = self.relu(getattr(self, self._norm0)(self.conv(x)))
        splits = x.unflatten(1, (self.radix, -1))
        squeezed = splits.sum(1).mean((2, 3), keepdim=True)
        logits = self.fc2(self.relu(getattr(self, self._norm1)(self.fc1(squeezed))))
        return (splits * self._attention(logits)).sum(1)

    def _attention(self, logits: Tensor) -> Tensor:
        """(B, radix * channels, 1, 1), the splits within each group -> (B, radix, channels, 1, 1), adding up to 1."""
        # the grouped convolution puts out group by group, while features come split by split
        logits = logits.unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2)
        weights = logits.softmax(1) if self.radix > 1 else logits.sigmoid()
        return weights.flatten(2, 3)


class ResNeStBottleneck(Bottleneck):
    """1x1, split-attention 3x3 and 1x1 convolutions."""

    def build_layers(self, groups: int, base_width: int, base_channels: int, **attention) -> None:
        width = grouped_width(self.channels, groups, base_width, base_channels)
        self.build_bottleneck(width, groups=groups, **attention)

    def build_middle(self, width: int, stride: int, avg_down_stride: bool, **attention) -> None:
        shape = dict(kernel_size=3, padding=self.dilation, dilation=self.dilation)
        shape['stride'] = 1 if avg_down_stride else stride
        layers = dict(conv_cfg=self.conv3x3_cfg, norm_cfg=self.norm_cfg)
        self.conv2 = SplitAttentionConv2d(width, width, **shape, **layers, **attention)
        pooled = avg_down_stride and stride > 1
        self.avd_layer = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()
        self.conv_names.append(('conv2', 'avd_layer'))

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        is_attention = self.conv_names[index][0] == 'conv2'
        return self.avd_layer(self.conv2(x)) if is_attention else super().run_layer(index, x)


@MODELS.register_module()
class ResNeSt(ResNeXt):
    """ResNeSt backbone, with the deep stem and the average-pooled shortcuts of ``ResNetV1d``.

    Args:
        radix: Splits that attention chooses between.
        reduction_factor: Ratio of the splits' channels to those inside the attention.
        avg_down_stride: Stride by average pooling after the 3x3 convolution, not by the convolution itself.
        **kwargs: As of ``ResNeXt``; ``depth`` is 50, 101, 152 or 200.
    """

    arch_settings = {**bottleneck_archs(ResNeStBottleneck), 200: (ResNeStBottleneck, (3, 24, 36, 3))}

    def __init__(self, radix: int = 2, reduction_factor: int = 4, avg_down_stride: bool = True, **kwargs) -> None:
        attention = dict(radix=radix, reduction_factor=reduction_factor, avg_down_stride=avg_down_stride)
        super().__init__(deep_stem=True, avg_down=True, block_args=attention, **kwargs)
