"""NAS-FPN: Learning Scalable Feature Pyramid Architecture for Object Detection, arXiv 1904.07392."""

import warnings
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .inputs import PyramidNeck

NUM_LEVELS = 5  # the search was for a pyramid of P3 to P7
CELLS = ('gp_64_4', 'sum_44_4', 'sum_43_3', 'sum_34_4', 'gp_43_5', 'sum_55_5', 'gp_53_7', 'sum_77_7', 'gp_75_6')
# what they make is merged with another map, which is convolved in their place
WITHOUT_CONV = ('gp_43_5', 'gp_53_7')
OUT_CONV = dict(kernel_size=3, padding=1, order=('act', 'conv', 'norm'))


@MODELS.register_module()
class NASFPN(PyramidNeck):
    """The pyramid that an architecture search found: a graph of seven merges, stacked.

    Args:
        in_channels, start_level, end_level: As of ``PyramidNeck``.
        out_channels, num_outs: Channels and number, which is 5, of the maps put out.
        stack_times: How often the graph is repeated, with weights of its own.
        add_extra_convs: Kept for configs: further levels are pooled, whatever it says.
        norm_cfg: Norm layer of all convolutions.

    Raises:
        ConfigError: ``num_outs`` isn't 5, or less than the number of backbone maps used.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        stack_times: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, start_level, end_level, init_cfg or dict(type='Caffe2Xavier', layer='Conv2d'))
        used = self.used_channels
        if num_outs != NUM_LEVELS or len(used) > num_outs:
            raise ConfigError(
                f'NASFPN puts out {NUM_LEVELS} maps of at most as many backbone maps, but got num_outs={num_outs} and '
                f'{len(used)} backbone maps (start_level={start_level}, end_level={end_level})'
            )
        layers = dict(norm_cfg=norm_cfg, act_cfg=None)
        self.lateral_convs = nn.ModuleList(ConvModule(channels, out_channels, 1, **layers) for channels in used)
        self.extra_downsamples = nn.ModuleList()
        for _ in range(num_outs - len(used)):
            conv = ConvModule(out_channels, out_channels, 1, **layers)
            self.extra_downsamples.append(nn.Sequential(conv, nn.MaxPool2d(2, 2)))
        self.fpn_stages = nn.ModuleList(NASFPNStage(out_channels, norm_cfg) for _ in range(stack_times))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> 5 maps (B, out_channels, ., .), each half of the last."""
        pyramid = [conv(x) for conv, x in zip(self.lateral_convs, self.used_maps(inputs))]
        for downsample in self.extra_downsamples:
            pyramid.append(downsample(pyramid[-1]))
        for stage in self.fpn_stages:
            pyramid = stage(pyramid)
        return tuple(pyramid)


class NASFPNStage(nn.ModuleDict):
    """One graph of seven merges. A cell's name says what it merges (``gp_64_4``: P6 and P4 to the size of P4)."""

    def __init__(self, channels: int, norm_cfg: dict | None = None) -> None:
        super().__init__()
        for name in CELLS:
            attend = name.startswith('gp')  # global pooling
            self[name] = MergeCell(channels, attend, with_out_conv=name not in WITHOUT_CONV, norm_cfg=norm_cfg)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Maps P3 to P7 -> maps of the same shapes."""
        p3, p4, p5, p6, p7 = pyramid
        sizes = {level: x.shape[2:] for level, x in zip(range(3, 8), pyramid)}
        first_p4 = self['gp_64_4'](p6, p4, sizes[4])
        second_p4 = self['sum_44_4'](first_p4, p4, sizes[4])
        p3 = self['sum_43_3'](second_p4, p3, sizes[3])
        p4 = self['sum_34_4'](p3, second_p4, sizes[4])
        p5 = self['sum_55_5'](p5, self['gp_43_5'](p4, p3, sizes[5]), sizes[5])
        p7 = self['sum_77_7'](p7, self['gp_53_7'](p5, second_p4, sizes[7]), sizes[7])
        p6 = self['gp_75_6'](p7, p5, sizes[6])
        return [p3, p4, p5, p6, p7]


class MergeCell(nn.Module):
    """The sum of two maps of any sizes, perhaps convolved with an activation before and a norm after.

    With ``attend`` the first map is weighted by the second's mean of each channel.
    """

    def __init__(
        self, channels: int, attend: bool = False, with_out_conv: bool = True, norm_cfg: dict | None = None
    ) -> None:
        super().__init__()
        self.attend = attend
        self.with_out_conv = with_out_conv
        if with_out_conv:
            with warnings.catch_warnings():
                # a norm makes the bias useless, but checkpoints have it
                warnings.filterwarnings('ignore', 'The bias of a conv')
                self.out_conv = ConvModule(channels, channels, bias=True, norm_cfg=norm_cfg, inplace=False, **OUT_CONV)

    def forward(self, first: Tensor, second: Tensor, out_size: Sequence[int]) -> Tensor:
        """Map two maps (B, channels, ., .) to one (B, channels, *out_size)."""
        first = resized_to(first, out_size)
        second = resized_to(second, out_size)
        if self.attend:
            first = F.adaptive_avg_pool2d(second, 1).sigmoid() * first
        merged = first + second
        return self.out_conv(merged) if self.with_out_conv else merged


def resized_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """``x`` (B, C, H, W) at ``size``: enlarged by the nearest pixel, shrunk by the maximum of those that fall together.

    A map that is no multiple of the smaller size is padded with zeros first, half of them on each side.
    """
    height, width = size
    if tuple(x.shape[2:]) == (height, width):
        return x
    if x.shape[2] < height or x.shape[3] < width:
        return F.interpolate(x, size=tuple(size), mode='nearest')
    missing_y = -x.shape[2] % height
    missing_x = -x.shape[3] % width
    before_y = missing_y // 2
    before_x = missing_x // 2
    x = F.pad(x, (before_x, missing_x - before_x, before_y, missing_y - before_y))
    kernel = (x.shape[2] // height, x.shape[3] // width)
    return F.max_pool2d(x, kernel, stride=kernel)
