"""RegNet: Designing Network Design Spaces, arXiv 2003.13678."""

import itertools
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mmdetlike.models.layers import SELayer
from mmdetlike.registry import MODELS

from .resnet import Bottleneck, ResNet


class RegNetBottleneck(Bottleneck):
    """1x1, grouped 3x3 and 1x1 convolutions; the block puts out as many channels as it is called wide.

    With ``se_ratio``, RegNetY, the channels after the 3x3 convolution are scaled by squeeze and excitation, whose
    hidden layer has that share of the block's input channels.
    """

    expansion = 1

    def build_layers(self, width: int, groups: int, se_ratio: float = 0.0) -> None:
        self.build_bottleneck(width, groups=groups)
        self.se = SELayer(width, hidden_channels=round(self.in_channels * se_ratio)) if se_ratio else None

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        out = super().run_layer(index, x)
        # the second convolution is the grouped one
        return self.se(out) if index == 1 and self.se is not None else out


def fit_groups(width: int, ratio: float, group_width: int) -> tuple[int, int, int]:
    """Bring the width inside a block, ``ratio`` times that of its output, to whole groups.

    These are the output's width, the width inside and that of a group, which is at most the width inside.
    """
    inner = int(width * ratio)
    group_width = min(group_width, inner)
    inner = RegNet.quantize_float(inner, group_width)
    return int(inner / ratio), inner, group_width


def stages_of(arch: dict) -> list[dict]:
    """The arguments of ``build_stage`` for each stage of a RegNet, which blocks of equal width form.

    Raises:
        ValueError: A parameter in ``arch`` is missing, unknown or out of range.
    """
    wanted = {'w0', 'wa', 'wm', 'group_w', 'depth'}
    if not wanted <= set(arch) <= wanted | {'bot_mul', 'se_ratio'}:
        keys = ', '.join(sorted(wanted))
        raise ValueError(f'arch must have the keys {keys} and may have bot_mul and se_ratio, got {dict(arch)}')
    if arch['w0'] <= 0 or arch['wa'] < 0 or arch['wm'] <= 1 or arch['depth'] < 1:
        raise ValueError(f'arch needs w0 > 0, wa >= 0, wm > 1 and depth >= 1, got {dict(arch)}')
    widths, _ = RegNet.generate_regnet(arch['w0'], arch['wa'], arch['wm'], arch['depth'])
    ratio = arch.get('bot_mul', 1.0)
    stages = []
    for width in sorted(set(widths)):
        channels, inner, group_width = fit_groups(width, ratio, arch['group_w'])
        stage = dict(block=RegNetBottleneck, channels=channels, num_blocks=widths.count(width))
        stages.append(dict(stage, width=inner, groups=inner // group_width, se_ratio=arch.get('se_ratio', 0.0)))
    return stages


@MODELS.register_module()
class RegNet(ResNet):
    """RegNet backbone: widths that grow linearly with depth, quantized to stages.

    Args:
        arch: A name of ``arch_settings`` or the parameters themselves: ``w0`` first width, ``wa`` slope, ``wm``
            quantization step, ``group_w`` width of a group, ``depth`` blocks in all, ``bot_mul`` ratio of the width
            inside a block to its output's, and ``se_ratio`` that of the hidden layer of squeeze and excitation to the
            block's input, 0 for none.
        stem_channels: Channels after the stem, one 3x3 convolution of stride 2.
        base_channels: Channels after the stem where ``stem_channels`` is None.
        **kwargs: As of ``ResNet``, except ``depth``, ``num_stages`` and ``deep_stem``.

    Raises:
        ValueError: ``arch`` is unknown, or its stages differ in number from ``strides``.

    Example:
        >>> import torch
        >>> arch = dict(w0=88, wa=26.31, wm=2.25, group_w=48, depth=25, bot_mul=1.0)
        >>> maps = RegNet(arch).eval()(torch.rand(1, 3, 32, 32))
        >>> [tuple(m.shape) for m in maps]
        [(1, 96, 8, 8), (1, 192, 4, 4), (1, 432, 2, 2), (1, 1008, 1, 1)]
    """

    arch_settings = {
        'regnetx_400mf': dict(w0=24, wa=24.48, wm=2.54, group_w=16, depth=22, bot_mul=1.0),
        'regnetx_800mf': dict(w0=56, wa=35.73, wm=2.28, group_w=16, depth=16, bot_mul=1.0),
        'regnetx_1.6gf': dict(w0=80, wa=34.01, wm=2.25, group_w=24, depth=18, bot_mul=1.0),
        'regnetx_3.2gf': dict(w0=88, wa=26.31, wm=2.25, group_w=48, depth=25, bot_mul=1.0),
        'regnetx_4.0gf': dict(w0=96, wa=38.65, wm=2.43, group_w=40, depth=23, bot_mul=1.0),
        'regnetx_6.4gf': dict(w0=184, wa=60.83, wm=2.07, group_w=56, depth=17, bot_mul=1.0),
        'regnetx_8.0gf': dict(w0=80, wa=49.56, wm=2.88, group_w=120, depth=23, bot_mul=1.0),
        'regnetx_12gf': dict(w0=168, wa=73.36, wm=2.37, group_w=112, depth=19, bot_mul=1.0),
        'regnety_4.0gf': dict(w0=96, wa=31.41, wm=2.24, group_w=64, depth=22, bot_mul=1.0, se_ratio=0.25),
    }

    def __init__(
        self,
        arch: str | dict,
        in_channels: int = 3,
        stem_channels: int | None = 32,
        base_channels: int = 32,
        strides: Sequence[int] = (2, 2, 2, 2),
        **kwargs,
    ) -> None:
        super().__init__(arch, in_channels, stem_channels, base_channels, len(strides), strides, **kwargs)

    def stage_settings(self, arch: str | dict, num_stages: int, base_channels: int) -> list[dict]:
        if isinstance(arch, str) and arch not in self.arch_settings:
            raise ValueError(f'arch must be one of {", ".join(self.arch_settings)} or a dict, got {arch!r}')
        stages = stages_of(self.arch_settings[arch] if isinstance(arch, str) else arch)
        if len(stages) != num_stages:
            raise ValueError(f'arch={arch!r} has {len(stages)} stages, but strides has {num_stages}')
        return stages

    @staticmethod
    def generate_regnet(
        initial_width: float, width_slope: float, width_parameter: float, depth: int, divisor: int = 8
    ) -> tuple[list[int], int]:
        """The widths of all ``depth`` blocks, and the number of stages that they form.

        They are ``initial_width + width_slope * i``, rounded to powers of ``width_parameter`` times the initial width,
        then to multiples of ``divisor``: equations 2 to 4 of the paper.
        """
        growth = (initial_width + width_slope * np.arange(depth)) / initial_width
        exponents = np.round(np.log(growth) / np.log(width_parameter))
        quantized = np.round(initial_width * width_parameter**exponents / divisor) * divisor
        widths = quantized.astype(int).tolist()
        return widths, len(set(widths))

    @staticmethod
    def adjust_width_group(
        widths: Sequence[int], bottleneck_ratio: Sequence[float], groups: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Bring the widths of stages to whole groups: the widths, and the widths of their groups."""
        fitted = [fit_groups(*stage) for stage in zip(widths, bottleneck_ratio, groups)]
        return [width for width, _, _ in fitted], [group_width for _, _, group_width in fitted]

    @staticmethod
    def get_stages_from_blocks(widths: Sequence[int]) -> tuple[list[int], list[int]]:
        """The width and the number of blocks of each stage, which is formed by neighbors of equal width."""
        stages = [(width, len(list(blocks))) for width, blocks in itertools.groupby(widths)]
        return [width for width, _ in stages], [count for _, count in stages]

    @staticmethod
    def quantize_float(number: float, divisor: int) -> int:
        """The multiple of ``divisor``, at least one times it, that is nearest to ``number``."""
        return max(round(number / divisor), 1) * divisor

    def build_stem(self, in_channels: int, channels: int) -> None:
        if self.deep_stem:
            raise ValueError('deep_stem must be False: the stem of RegNet is one 3x3 convolution')
        self.add_stem_conv(in_channels, channels, kernel_size=3)
