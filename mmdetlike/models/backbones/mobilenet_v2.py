"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381."""

from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import ConvModule, InvertedResidual
from mmdetlike.models.utils import make_divisible
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_in_range, weight_init


@MODELS.register_module()
class MobileNetV2(StagedBackbone):
    """MobileNetV2 backbone: stages 0 to 6 of inverted residuals, stage 7 a 1x1 convolution.

    Args:
        widen_factor: Width of the network.
        out_indices: Stages, 0 to 7, whose maps ``forward`` returns.
        frozen_stages: The stem and this many stages, from the first, get no gradient; -1 freezes nothing.
        conv_cfg, norm_cfg, act_cfg, norm_eval, with_cp, pretrained, init_cfg: As of ``StagedBackbone``.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` is out of range.
    """

    # expansion, channels, blocks, stride of the first block
    arch_settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 4, 7),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict = {'type': 'BN'},  # noqa: B006
        act_cfg: dict = {'type': 'ReLU6'},  # noqa: B006
        norm_eval: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_in_range('out_indices', out_indices, range(8))
        check_in_range('frozen_stages', frozen_stages, range(-1, 8))
        super().__init__(out_indices, frozen_stages + 1, norm_eval, weight_init(pretrained, init_cfg), first_index=-1)
        self.widen_factor, self.with_cp = widen_factor, with_cp
        self.common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.in_channels = make_divisible(32 * widen_factor, 8)
        self.add_stage('conv1', ConvModule(3, self.in_channels, 3, stride=2, padding=1, **self.common))
        for i, (expansion, width, num_blocks, stride) in enumerate(self.arch_settings):
            width = make_divisible(width * widen_factor, 8)
            self.add_stage(f'layer{i + 1}', self.make_layer(width, num_blocks, stride, expansion))
        # narrow networks keep the full width of the last layer, as in the paper
        last = int(1280 * widen_factor) if widen_factor > 1.0 else 1280
        self.add_stage('conv2', ConvModule(self.in_channels, last, 1, **self.common))
        self.freeze_stages()

    def make_layer(self, out_channels: int, num_blocks: int, stride: int, expand_ratio: int) -> nn.Sequential:
        """A stage of inverted residuals after those made before, whose width is in ``in_channels``.

        Args:
            out_channels: Channels that the stage puts out.
            num_blocks: Number of blocks.
            stride: Stride of the first one.
            expand_ratio: How many times wider a block is inside than its input.
        """
        settings = dict(with_expand_conv=expand_ratio != 1, with_cp=self.with_cp, **self.common)
        blocks = []
        for i in range(num_blocks):
            inner = round(self.in_channels * expand_ratio)
            step = stride if i == 0 else 1
            blocks.append(InvertedResidual(self.in_channels, out_channels, inner, stride=step, **settings))
            self.in_channels = out_channels
        return nn.Sequential(*blocks)
