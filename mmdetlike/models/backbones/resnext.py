"""ResNeXt: Aggregated Residual Transformations for Deep Neural Networks, arXiv 1611.05431."""

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
