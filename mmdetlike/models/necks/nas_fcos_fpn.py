"""The pyramid that NAS-FCOS: Fast Neural Architecture Search for Object Detection, arXiv 1906.04423, has found."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import caffe2_xavier_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .inputs import PyramidNeck

# Cells by name; the digits are the maps that each one merges: 0 to 2 come from the backbone, 3 is the first cell's, ...
# The second map has a convolution of its own in those marked True.
CELLS = dict(c22_1=True, c22_2=True, c32=False, c02=False, c42=True, c36=True, c61=True)
NUM_INPUTS = 3
# maps that become the levels put out, fine to coarse, and the one that is added to each of them
LEVELS = (9, 8, 7)
ADDED = 5


class ConcatCell(nn.Module):
    """Merges two maps: resizes both to the larger size, joins their channels and lets a grouped convolution mix pairs.

    The first map always goes through a convolution before, of ``conv_cfg`` and ``norm_cfg``, the second one does
    ``with_second_conv``.
    """

    def __init__(self, channels: int, with_second_conv: bool, conv_cfg: dict | None, norm_cfg: dict | None) -> None:
        super().__init__()
        common = dict(padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=True)
        # output i sees the joined channels 2 * i and 2 * i + 1 alone
        mixing = dict(groups=channels, bias=False, norm_cfg=dict(type='BN'), order=('norm', 'act', 'conv'))
        self.out_conv = ConvModule(2 * channels, channels, 1, **mixing)
        self.input1_conv = ConvModule(channels, channels, 3, **common)
        self.input2_conv = ConvModule(channels, channels, 3, **common) if with_second_conv else nn.Sequential()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Maps (B, C, h_i, w_i) -> one (B, C, h, w) of the larger size."""
        size = tuple(max(first.shape[-2:], second.shape[-2:]))
        maps = [self.input1_conv(first), self.input2_conv(second)]
        return self.out_conv(torch.cat([F.interpolate(x, size=size, mode='nearest') for x in maps], dim=1))


@MODELS.register_module()
class NASFCOS_FPN(PyramidNeck):
    """A pyramid of cells that merge two maps each, as a search has found them.

    Args:
        in_channels, start_level, end_level: As of ``PyramidNeck``; three maps must be used.
        out_channels, num_outs: Channels and number of the maps put out; those beyond the third are made by striding.
        add_extra_convs: Whether there are more than three maps put out; strided convolutions make them.
        conv_cfg, norm_cfg: Convolution and norm layer of the cells' inputs.
        init_cfg: Weight initialization, in place of Caffe2's Xavier for the other convolutions.

    Raises:
        ConfigError: Not three backbone maps are used, or ``num_outs`` and ``add_extra_convs`` don't fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 1,
        end_level: int = -1,
        add_extra_convs: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, start_level, end_level, init_cfg)
        used = self.used_channels
        if len(used) != NUM_INPUTS:
            raise ConfigError(
                f'NASFCOS_FPN merges {NUM_INPUTS} backbone maps, but start_level={start_level} and '
                f'end_level={end_level} choose {len(used)} of {len(in_channels)}'
            )
        num_extra = num_outs - NUM_INPUTS
        if num_extra < 0 or bool(num_extra) != bool(add_extra_convs):
            raise ConfigError(
                f'num_outs={num_outs} and add_extra_convs={add_extra_convs} do not fit: num_outs must be '
                f'{NUM_INPUTS}, or larger with add_extra_convs=True'
            )
        adapt = dict(bias=False, norm_cfg=dict(type='BN'), inplace=False)
        self.adapt_convs = nn.ModuleList(ConvModule(channels, out_channels, 1, **adapt) for channels in used)
        cells = {name: ConcatCell(out_channels, second, conv_cfg, norm_cfg) for name, second in CELLS.items()}
        self.fpn = nn.ModuleDict(cells)
        self.extra_downsamples = nn.ModuleList()
        for i in range(num_extra):
            act_cfg = None if i == 0 else dict(type='ReLU', inplace=False)
            extra = dict(stride=2, padding=1, act_cfg=act_cfg, order=('act', 'norm', 'conv'))
            self.extra_downsamples.append(ConvModule(out_channels, out_channels, 3, **extra))

    def init_weights(self) -> None:
        """Do what ``init_cfg`` says; without one, let all but the cells keep the variance of their inputs."""
        if self.init_cfg is None:
            for module in [*self.adapt_convs.modules(), *self.extra_downsamples.modules()]:
                if isinstance(module, nn.Conv2d):
                    caffe2_xavier_init(module)
        super().init_weights()

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, H_i, W_i)."""
        used = self.used_maps(inputs)
        maps = [conv(x) for conv, x in zip(self.adapt_convs, used)]
        for name, cell in self.fpn.items():
            first = int(name[1])
            second = int(name[2])
            maps.append(cell(maps[first], maps[second]))
        outs = []
        for index, source in zip(LEVELS, used):
            total = maps[index] + stretched(maps[ADDED], maps[index])
            outs.append(stretched(total, source))
        for conv in self.extra_downsamples:
            outs.append(conv(outs[-1]))
        return tuple(outs)


def stretched(x: Tensor, target: Tensor) -> Tensor:
    """``x`` (B, C, h, w) at the size of ``target``, by linear interpolation."""
    return F.interpolate(x, size=tuple(target.shape[-2:]), mode='bilinear', align_corners=False)
