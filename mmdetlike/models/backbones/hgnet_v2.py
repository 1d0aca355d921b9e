"""HGNetV2, the backbone of D-FINE, arXiv 2410.13842.

Its blocks gather the maps of all their convolutions, as those of One-Shot Aggregation do (VoVNet, arXiv 1904.09730).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_in_range, weight_init

# channels of the stem: after its first convolution, and of its output
STEMS = dict(B0=(16, 16), B2=(24, 32), B4=(32, 48), B5=(32, 64))
# of each stage: channels within a block, channels put out, number of blocks
STAGES = dict(
    B0=((16, 64, 1), (32, 256, 1), (64, 512, 2), (128, 1024, 1)),
    B2=((32, 96, 1), (64, 384, 1), (128, 768, 3), (256, 1536, 1)),
    B4=((48, 128, 1), (96, 512, 1), (192, 1024, 3), (384, 2048, 1)),
    B5=((64, 128, 1), (128, 512, 2), (256, 1024, 5), (512, 2048, 2)),
)
# convolutions of a block
DEPTHS = dict(B0=3, B2=4, B4=6, B5=6)


class ConvAffine(ConvModule):
    """A convolution, batch norm and activation, after which a network without many channels has two more numbers.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, groups, norm_cfg, act_cfg: As of ``ConvModule``.
        affine: Whether one learnable factor and one learnable offset follow the activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        norm_cfg: dict,
        act_cfg: dict,
        affine: bool,
    ) -> None:
        shape = dict(stride=stride, padding=padding, groups=groups)
        super().__init__(in_channels, out_channels, kernel_size, norm_cfg=norm_cfg, act_cfg=act_cfg, **shape)
        self.affine = affine
        if affine:
            self.scale = nn.Parameter(torch.ones(1))
            self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        x = super().forward(x)
        return x * self.scale + self.offset if self.affine else x


class LightConv(nn.Sequential):
    """A 1x1 convolution that mixes channels, then one of ``kernel_size`` for each channel by itself."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, common: dict) -> None:
        mix = ConvModule(in_channels, out_channels, 1, norm_cfg=common['norm_cfg'], act_cfg=None)
        shape = dict(padding=kernel_size // 2, groups=out_channels)
        super().__init__(mix, ConvAffine(out_channels, out_channels, kernel_size, **shape, **common))


class HGStem(nn.Module):
    """A quarter of the image's sides, by convolutions beside a max pooling.

    Args:
        mid_channels: Channels of the first convolution.
        out_channels: Channels put out.
        common: Further arguments of ``ConvAffine``.
    """

    def __init__(self, mid_channels: int, out_channels: int, common: dict) -> None:
        super().__init__()
        self.stem1 = ConvAffine(3, mid_channels, 3, stride=2, padding=1, **common)
        self.stem2a = ConvAffine(mid_channels, mid_channels // 2, 2, **common)
        self.stem2b = ConvAffine(mid_channels // 2, mid_channels, 2, **common)
        self.stem3 = ConvAffine(2 * mid_channels, mid_channels, 3, stride=2, padding=1, **common)
        self.stem4 = ConvAffine(mid_channels, out_channels, 1, **common)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_channels, H / 4, W / 4)."""
        # kernels of 2x2 keep the size by a row and a column of zeros at the far sides
        x = F.pad(self.stem1(x), (0, 1, 0, 1))
        convolved = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        pooled = F.max_pool2d(x, 2, stride=1)
        return self.stem4(self.stem3(torch.cat([pooled, convolved], dim=1)))


class HGBlock(nn.Module):
    """Convolutions one after the other, all of whose maps are gathered.

    Args:
        in_channels: Channels of the input.
        mid_channels: Channels of each convolution.
        out_channels: Channels put out.
        depth: Number of convolutions.
        kernel_size: Their kernel.
        light: Whether they are ``LightConv``.
        shortcut: Whether the input is added to the output.
        common: Further arguments of ``ConvAffine``.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        depth: int,
        kernel_size: int,
        light: bool,
        shortcut: bool,
        common: dict,
    ) -> None:
        super().__init__()
        inputs = [in_channels] + [mid_channels] * (depth - 1)
        if light:
            layers = [LightConv(width, mid_channels, kernel_size, common) for width in inputs]
        else:
            shape = dict(kernel_size=kernel_size, padding=kernel_size // 2)
            layers = [ConvAffine(width, mid_channels, **shape, **common) for width in inputs]
        self.layers = nn.ModuleList(layers)
        self.squeeze = ConvAffine(in_channels + depth * mid_channels, out_channels // 2, 1, **common)
        self.excite = ConvAffine(out_channels // 2, out_channels, 1, **common)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        out = self.excite(self.squeeze(torch.cat(maps, dim=1)))
        return out + x if self.shortcut else out


class HGStage(nn.Module):
    """Blocks at one resolution, half of that of the stage before where ``downsample``; arguments as of ``HGBlock``."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        num_blocks: int,
        depth: int,
        kernel_size: int,
        light: bool,
        downsample: bool,
        common: dict,
    ) -> None:
        super().__init__()
        self.downsample = nn.Identity()
        if downsample:
            shape = dict(stride=2, padding=1, groups=in_channels)
            self.downsample = ConvModule(
                in_channels, in_channels, 3, norm_cfg=common['norm_cfg'], act_cfg=None, **shape
            )
        inputs = [in_channels] + [out_channels] * (num_blocks - 1)
        self.blocks = nn.Sequential(
            *(
                HGBlock(width, mid_channels, out_channels, depth, kernel_size, light, shortcut=i > 0, common=common)
                for i, width in enumerate(inputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h / 2, w / 2), or (h, w) without ``downsample``."""
        return self.blocks(self.downsample(x))


@MODELS.register_module()
class HGNetV2(StagedBackbone):
    """HGNetV2: a stem and four stages, whose maps are a 4th, 8th, 16th and 32nd of the image's sides.

    Args:
        arch: ``B0``, ``B2``, ``B4`` or ``B5``; or a dict of ``stem`` (channels of its first convolution and of its
            output), ``stages`` (of each, channels within a block, channels put out, number of blocks) and ``depth``
            (convolutions of a block).
        affine: Whether a learnable factor and offset follow each activation, as in D-FINE-N, -S and -M.
        out_indices: Stages, 0 to 3, whose maps ``forward`` returns.
        frozen_stages: The stem and this many stages, from the first, get no gradient; -1 freezes nothing.
        norm_cfg, act_cfg, norm_eval, init_cfg: As of ``StagedBackbone``.

    Raises:
        ConfigError: ``arch`` is unknown.
        ValueError: ``out_indices`` or ``frozen_stages`` is out of range.
    """

    def __init__(
        self,
        arch: str | dict = 'B4',
        affine: bool = False,
        out_indices: Sequence[int] = (1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict = {'type': 'BN'},  # noqa: B006
        act_cfg: dict = {'type': 'ReLU'},  # noqa: B006
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_in_range('out_indices', out_indices, range(4))
        check_in_range('frozen_stages', frozen_stages, range(-1, 5))
        super().__init__(out_indices, frozen_stages + 1, norm_eval, weight_init(None, init_cfg), first_index=-1)
        stem, stages, depth = settings_of(arch)
        common = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, affine=affine)
        self.add_stage('stem', HGStem(*stem, common))
        width = stem[1]
        for i, (mid_channels, out_channels, num_blocks) in enumerate(stages):
            # large and cheap kernels where maps are small
            shape = dict(kernel_size=5 if i > 1 else 3, light=i > 1, downsample=i > 0)
            stage = HGStage(width, mid_channels, out_channels, num_blocks, depth, common=common, **shape)
            self.add_stage(f'stage{i + 1}', stage)
            width = out_channels
        self.freeze_stages()


def settings_of(arch: str | dict) -> tuple[Sequence[int], Sequence[Sequence[int]], int]:
    """Channels of the stem, settings of the stages and convolutions of a block, of what ``HGNetV2`` calls ``arch``.

    Raises:
        ConfigError: ``arch`` is no known name, or a dict of other keys or another number of stages.
    """
    if isinstance(arch, str) and arch in STAGES:
        return STEMS[arch], STAGES[arch], DEPTHS[arch]
    wanted = {'stem', 'stages', 'depth'}
    if isinstance(arch, dict) and set(arch) == wanted and len(arch['stages']) == 4:
        return arch['stem'], arch['stages'], arch['depth']
    raise ConfigError(
        f'arch of HGNetV2 must be one of {sorted(STAGES)} or a dict of stem, depth and 4 stages, got {arch!r}'
    )
