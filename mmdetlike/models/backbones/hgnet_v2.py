"""HGNetV2, the backbone of D-FINE, arXiv 2410.13842.

Its blocks gather the maps of all their convolutions, as those of One-Shot Aggregation do (VoVNet, arXiv 1904.09730).
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_in_range, weight_init

# what ``HGNetV2`` calls ``arch``
ARCHITECTURES = dict(
    B0=dict(stem=(16, 16), stages=((16, 64, 1), (32, 256, 1), (64, 512, 2), (128, 1024, 1)), depth=3),
    B2=dict(stem=(24, 32), stages=((32, 96, 1), (64, 384, 1), (128, 768, 3), (256, 1536, 1)), depth=4),
    B4=dict(stem=(32, 48), stages=((48, 128, 1), (96, 512, 1), (192, 1024, 3), (384, 2048, 1)), depth=6),
    B5=dict(stem=(32, 64), stages=((64, 128, 1), (128, 512, 2), (256, 1024, 5), (512, 2048, 2)), depth=6),
)


class ConvAffine(ConvModule):
    """A convolution, batch norm and activation, and with ``affine`` one learnable factor and one learnable offset.

    An odd ``kernel_size`` keeps the size of a map, 2 takes a row and a column from it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm_cfg: dict,
        act_cfg: dict,
        affine: bool,
    ) -> None:
        shape = dict(stride=stride, groups=groups, padding=kernel_size // 2 if kernel_size % 2 else 0)
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
        super().__init__(mix, ConvAffine(out_channels, out_channels, kernel_size, groups=out_channels, **common))


class HGStem(nn.Module):
    """A quarter of the image's sides, by convolutions beside a max pooling.

    The first one has ``mid_channels``; ``common`` are further arguments of ``ConvAffine``.
    """

    def __init__(self, mid_channels: int, out_channels: int, common: dict) -> None:
        super().__init__()
        self.stem1 = ConvAffine(3, mid_channels, 3, stride=2, **common)
        self.stem2a = ConvAffine(mid_channels, mid_channels // 2, 2, **common)
        self.stem2b = ConvAffine(mid_channels // 2, mid_channels, 2, **common)
        self.stem3 = ConvAffine(2 * mid_channels, mid_channels, 3, stride=2, **common)
        self.stem4 = ConvAffine(mid_channels, out_channels, 1, **common)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_channels, H / 4, W / 4)."""
        # kernels of 2x2 keep the size by a row and a column of zeros at the far sides
        x = F.pad(self.stem1(x), (0, 1, 0, 1))
        convolved = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        pooled = F.max_pool2d(x, 2, stride=1)
        return self.stem4(self.stem3(torch.cat([pooled, convolved], dim=1)))


class HGBlock(nn.Module):
    """``depth`` convolutions one after the other, of ``mid_channels``, all of whose maps are gathered.

    They are ``LightConv`` where ``light``, else ``ConvAffine``, whose further arguments are ``common``. With
    ``shortcut`` the input is added to the output.
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
            layers = [ConvAffine(width, mid_channels, kernel_size, **common) for width in inputs]
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
        arch = settings_of(arch)
        common = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, affine=affine)
        self.add_stage('stem', HGStem(*arch['stem'], common))
        width = arch['stem'][1]
        for i, (mid_channels, out_channels, num_blocks) in enumerate(arch['stages']):
            halve = dict(stride=2, padding=1, groups=width, norm_cfg=norm_cfg, act_cfg=None)
            downsample = ConvModule(width, width, 3, **halve) if i > 0 else nn.Identity()
            # large and cheap kernels where maps are small
            block = dict(depth=arch['depth'], kernel_size=5 if i > 1 else 3, light=i > 1, common=common)
            blocks = [HGBlock(width, mid_channels, out_channels, shortcut=False, **block)]
            for _ in range(num_blocks - 1):
                blocks.append(HGBlock(out_channels, mid_channels, out_channels, shortcut=True, **block))
            # named as in checkpoints
            stage = OrderedDict(downsample=downsample, blocks=nn.Sequential(*blocks))
            self.add_stage(f'stage{i + 1}', nn.Sequential(stage))
            width = out_channels
        self.freeze_stages()


def settings_of(arch: str | dict) -> dict:
    """The dict that ``arch`` of ``HGNetV2`` is or names; ``ConfigError`` where it is neither."""
    if isinstance(arch, str) and arch in ARCHITECTURES:
        return ARCHITECTURES[arch]
    if isinstance(arch, dict) and set(arch) == {'stem', 'stages', 'depth'} and len(arch['stages']) == 4:
        return arch
    raise ConfigError(
        f'arch of HGNetV2 must be one of {sorted(ARCHITECTURES)} or a dict of stem, depth and 4 stages, got {arch!r}'
    )
