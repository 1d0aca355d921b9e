"""EfficientNet: Rethinking Model Scaling, arXiv 1905.11946, and EfficientNet-EdgeTPU."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from mmdetlike.models.layers import ConvModule, EdgeResidual, InvertedResidual
from mmdetlike.models.utils import make_divisible
from mmdetlike.registry import MODELS

from .staged import DEFAULT_INIT, StagedBackbone, check_choice, check_in_range


class Blocks(NamedTuple):
    """Blocks in a row, before scaling."""

    kernel_size: int
    channels: int
    repeats: int
    stride: int
    expansion: int
    kind: str = 'inverted'

    def scaled(self, width: float, depth: float) -> 'Blocks':
        """These blocks in a wider and deeper network: compound scaling, section 3.3 of the paper."""
        channels = make_divisible(self.channels * width, 8)
        return self._replace(channels=channels, repeats=math.ceil(self.repeats * depth))


# the stages between stem and last convolution: each begins with the stride that halves the map
INVERTED = (
    (Blocks(3, 16, 1, 1, 1),),
    (Blocks(3, 24, 2, 2, 6),),
    (Blocks(5, 40, 2, 2, 6),),
    (Blocks(3, 80, 3, 2, 6), Blocks(5, 112, 3, 1, 6)),
    (Blocks(5, 192, 4, 2, 6), Blocks(3, 320, 1, 1, 6)),
)
EDGE = (
    (Blocks(3, 24, 1, 1, 4, 'edge-first'),),
    (Blocks(3, 32, 2, 2, 8, 'edge'),),
    (Blocks(3, 48, 4, 2, 8, 'edge'),),
    (Blocks(5, 96, 5, 2, 8, 'inverted-plain'), Blocks(5, 144, 4, 1, 8, 'inverted-plain')),
    (Blocks(5, 192, 2, 2, 8, 'inverted-plain'),),
)


@MODELS.register_module()
class EfficientNet(StagedBackbone):
    """EfficientNet backbone: a stem, stage 0, stages 1 to 5, and a 1x1 convolution, stage 6, if it is asked for.

    Args:
        arch: ``'b0'`` to ``'b8'``, or ``'es'``, ``'em'``, ``'el'`` of EfficientNet-EdgeTPU.
        drop_path_rate: Probability of dropping the residual branch of the last block; it rises linearly from 0.
        out_indices: Stages, 0 to 6, whose maps ``forward`` returns.
        frozen_stages: This many stages, counting the stem as the first, get no gradient.
        conv_cfg, norm_cfg, act_cfg, norm_eval, with_cp, init_cfg: As of ``StagedBackbone``.

    Raises:
        ValueError: ``arch``, ``out_indices`` or ``frozen_stages`` is out of range.
    """

    # stages, width and depth of the network
    arch_settings = {
        'b0': (INVERTED, 1.0, 1.0),
        'b1': (INVERTED, 1.0, 1.1),
        'b2': (INVERTED, 1.1, 1.2),
        'b3': (INVERTED, 1.2, 1.4),
        'b4': (INVERTED, 1.4, 1.8),
        'b5': (INVERTED, 1.6, 2.2),
        'b6': (INVERTED, 1.8, 2.6),
        'b7': (INVERTED, 2.0, 3.1),
        'b8': (INVERTED, 2.2, 3.6),
        'es': (EDGE, 1.0, 1.0),
        'em': (EDGE, 1.0, 1.1),
        'el': (EDGE, 1.2, 1.4),
    }

    def __init__(
        self,
        arch: str = 'b0',
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (6,),
        frozen_stages: int = 0,
        conv_cfg: dict = {'type': 'Conv2dAdaptivePadding'},  # noqa: B006
        norm_cfg: dict = {'type': 'BN', 'eps': 1e-3},  # noqa: B006
        act_cfg: dict = {'type': 'Swish'},  # noqa: B006
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        check_choice('arch', arch, list(self.arch_settings))
        check_in_range('out_indices', out_indices, range(7))
        check_in_range('frozen_stages', frozen_stages, range(-1, 8))
        super().__init__(out_indices, max(frozen_stages, 0), norm_eval, init_cfg)
        self.arch, self.with_cp = arch, with_cp
        self.common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        stages, width, depth = self.arch_settings[arch]
        stages = [[blocks.scaled(width, depth) for blocks in stage] for stage in stages]
        channels = make_divisible(32 * width, 8)
        self.layers = nn.ModuleList([ConvModule(3, channels, 3, stride=2, padding=1, **self.common)])
        # over all blocks of the architecture, also where the last stages aren't built
        total = sum(blocks.repeats for stage in stages for blocks in stage)
        rates = iter([drop_path_rate * i / (total - 1) for i in range(total)])
        for stage in stages[: max(out_indices)]:
            layers = []
            for blocks in stage:
                for i in range(blocks.repeats):
                    stride = blocks.stride if i == 0 else 1
                    layers.append(self._make_block(channels, blocks, stride, next(rates)))
                    channels = blocks.channels
            self.layers.append(nn.Sequential(*layers))
        if max(out_indices) == 6:
            self.layers.append(ConvModule(channels, make_divisible(1280 * width, 8), 1, **self.common))
        self.stage_names = [f'layers.{i}' for i in range(len(self.layers))]
        self.freeze_stages()

    def _make_block(self, channels: int, blocks: Blocks, stride: int, drop_path_rate: float) -> nn.Module:
        common = dict(drop_path_rate=drop_path_rate, with_cp=self.with_cp, **self.common)
        common.update(kernel_size=blocks.kernel_size, stride=stride)
        width = blocks.channels
        hidden = channels * blocks.expansion
        if blocks.kind == 'edge-first':  # its width is counted from its output, and it has no shortcut
            return EdgeResidual(channels, width, width * blocks.expansion, with_residual=False, **common)
        if blocks.kind == 'edge':
            return EdgeResidual(channels, width, hidden, **common)
        if blocks.kind == 'inverted':
            activations = (self.common['act_cfg'], dict(type='Sigmoid'))
            # the ratio is meant of the block's input, which the expansion has widened
            common['se_cfg'] = dict(channels=hidden, ratio=blocks.expansion * 4, act_cfg=activations)
        return InvertedResidual(channels, width, hidden, with_expand_conv=blocks.expansion != 1, **common)
