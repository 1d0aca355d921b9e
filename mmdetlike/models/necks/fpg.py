"""Feature Pyramid Grids, arXiv 2004.03580."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .inputs import PyramidNeck

# link -> whose map it brings, that of the same pathway, of the one before or of the backbone; how much coarser a level
LINKS = dict(
    same_down=('same', 1),
    same_up=('same', -1),
    across_lateral=('before', 0),
    across_down=('before', 1),
    across_up=('before', -1),
    across_skip=('backbone', 0),
)
INIT = [
    dict(type='Caffe2Xavier', layer='Conv2d'),
    dict(type='Constant', layer=['_BatchNorm', '_InstanceNorm'], val=1.0),
]


class InterpolatedConv(nn.Module):
    """A convolution, of odd ``kernel_size``, of the map enlarged by ``interpolate`` with ``mode``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        mode: str = 'nearest',
        norm_cfg: dict | None = None,
        order: tuple[str, str, str] = ('conv', 'norm', 'act'),
        inplace: bool = True,
    ) -> None:
        super().__init__()
        self.mode = mode
        layers = dict(norm_cfg=norm_cfg, order=order, inplace=inplace)
        self.conv = ConvModule(in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **layers)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map (B, in_channels, ., .) to (B, out_channels, *size)."""
        return self.conv(F.interpolate(x, size=tuple(size), mode=self.mode))


class SizedConv(ConvModule):
    """A ``ConvModule`` whose output is brought to a wanted size by the nearest pixel, if its stride doesn't."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map (B, in_channels, ., .) to (B, out_channels, *size)."""
        x = super().forward(x)
        return x if tuple(x.shape[2:]) == tuple(size) else F.interpolate(x, size=tuple(size), mode='nearest')


class LastConv(nn.Module):
    """The convolution, of odd ``kernel_size``, of a finished level."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        norm_cfg: dict | None = None,
        order: tuple[str, str, str] = ('act', 'conv', 'norm'),
        inplace: bool = True,
    ) -> None:
        super().__init__()
        layers = dict(norm_cfg=norm_cfg, order=order, inplace=inplace)
        self.conv_out = ConvModule(in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **layers)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), whatever ``size`` says."""
        return self.conv_out(x)


class Unchanged(nn.Module):
    """The input as it is, which needs as many channels out as in."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if in_channels != out_channels:
            raise ConfigError(f'an identity needs as many channels in ({in_channels}) as out ({out_channels})')

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return x


TRANSITIONS = dict(conv=SizedConv, interpolation_conv=InterpolatedConv, last_conv=LastConv, identity=Unchanged)


@MODELS.register_module()
class FPG(PyramidNeck):
    """A grid of pathways through the pyramid, with links along them and across from one to the next.

    A node of pathway s at level l sums up what comes from its pathway's previous level (``same``), and from the
    pathway before: from its own level (``lateral``), the coarser one (``down``), the finer one (``up``), and from
    the backbone (``skip``).

    Each link is a config of a layer, or None for no such link: ``conv`` (arguments of ``ConvModule``),
    ``interpolation_conv`` (``InterpolatedConv``), ``last_conv`` (``LastConv``) or ``identity``.

    Args:
        in_channels, start_level, end_level: As of ``PyramidNeck``.
        out_channels, num_outs: Channels and number of the maps put out; beyond the backbone's they come by striding.
        stack_times: Number of pathways.
        paths: The direction of each pathway: ``bu`` (bottom up: from fine to coarse) or ``td`` (top down).
        inter_channels: Channels of all nodes, or of those of each level; by default ``out_channels``.
        same_down_trans, same_up_trans: Links from the coarser level of the same pathway, if it runs top down, and from
            the finer one, if it runs bottom up.
        across_lateral_trans, across_down_trans, across_up_trans: Links from the same, the coarser and the finer level
            of the pathway before.
        across_skip_trans: Link from the same level of the backbone.
        output_trans: The last layer of each level.
        add_extra_convs: Make the extra levels by strided convolutions, by striding alone where False.
        norm_cfg: Norm layer of those convolutions.
        skip_inds: For each level the pathways that leave it as it is; by default none.

    Raises:
        ConfigError: The numbers of levels or pathways don't fit, or a link has an unknown type.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        stack_times: int,
        paths: Sequence[str],
        inter_channels: int | Sequence[int] | None = None,
        same_down_trans: dict | None = None,
        same_up_trans: dict | None = dict(type='conv', kernel_size=3, stride=2, padding=1),  # noqa: B006
        across_lateral_trans: dict | None = dict(type='conv', kernel_size=1),  # noqa: B006
        across_down_trans: dict | None = dict(type='conv', kernel_size=3),  # noqa: B006
        across_up_trans: dict | None = None,
        across_skip_trans: dict | None = dict(type='identity'),  # noqa: B006
        output_trans: dict = dict(type='last_conv', kernel_size=3),  # noqa: B006
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool = False,
        norm_cfg: dict | None = None,
        skip_inds: Sequence[Sequence[int]] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, start_level, end_level, init_cfg or INIT)
        used = self.used_channels
        self.num_outs = num_outs
        self.paths = tuple(paths)
        self.skip_inds = skip_inds or [[]] * num_outs
        self._check(len(used), stack_times)
        widths = inter_channels or out_channels
        self.inter_channels = [widths] * num_outs if isinstance(widths, int) else list(widths)
        # in the order of ``LINKS``
        across = (across_lateral_trans, across_down_trans, across_up_trans, across_skip_trans)
        self.links = dict(zip(LINKS, (same_down_trans, same_up_trans, *across)))
        self.lateral_convs = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(used, self.inter_channels)
        )
        self.extra_downsamples = nn.ModuleList()
        for level in range(len(used), num_outs if add_extra_convs else 0):
            before, width = self.inter_channels[level - 1 : level + 1]
            self.extra_downsamples.append(
                ConvModule(before, width, 3, stride=2, padding=1, norm_cfg=norm_cfg, act_cfg=None)
            )
        self.fpn_transitions = nn.ModuleList()
        for step in range(stack_times):
            self.fpn_transitions.append(nn.ModuleList(self._node(step, level) for level in range(num_outs)))
        self.output_transition = nn.ModuleList(
            build_transition(output_trans, width, out_channels) for width in self.inter_channels
        )

    def _check(self, num_used: int, stack_times: int) -> None:
        if num_used > self.num_outs:
            raise ConfigError(f'FPG got num_outs={self.num_outs}, expected at least the {num_used} backbone maps used')
        if len(self.paths) != stack_times or not set(self.paths) <= {'bu', 'td'}:
            raise ConfigError(
                f"FPG needs stack_times={stack_times} paths, each 'bu' or 'td', but got paths={list(self.paths)}"
            )
        if len(self.skip_inds) != self.num_outs:
            raise ConfigError(f'FPG needs skip_inds of num_outs={self.num_outs} levels, but got {self.skip_inds}')

    def _node(self, step: int, level: int) -> nn.ModuleDict:
        """The links into a node: a level of the pathway of number ``step``."""
        node = nn.ModuleDict()
        if step in self.skip_inds[level]:
            return node
        same = 'same_up' if self.paths[step] == 'bu' else 'same_down'
        for name, cfg in self.links.items():
            source = level + LINKS[name][1]
            wrong_way = name.startswith('same') and name != same
            if cfg is not None and not wrong_way and 0 <= source < self.num_outs:
                node[name] = build_transition(cfg, self.inter_channels[source], self.inter_channels[level])
        return node

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, H_i, W_i)."""
        first = self._first(self.used_maps(inputs))
        pyramid = first
        for direction, nodes in zip(self.paths, self.fpn_transitions):
            pyramid = self._walk(direction, nodes, pyramid, first)
        return tuple(layer(x, x.shape[2:]) for layer, x in zip(self.output_transition, pyramid))

    def _first(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The laterals of the backbone maps, and the extra levels."""
        pyramid = [conv(x) for conv, x in zip(self.lateral_convs, inputs)]
        for downsample in self.extra_downsamples:
            pyramid.append(downsample(pyramid[-1]))
        while len(pyramid) < self.num_outs:
            pyramid.append(F.max_pool2d(pyramid[-1], 1, stride=2))
        return pyramid

    def _walk(self, direction: str, nodes: nn.ModuleList, before: list[Tensor], first: list[Tensor]) -> list[Tensor]:
        """The maps of one pathway from those of the one before it and the backbone's."""
        after = list(before)
        sources = dict(same=after, before=before, backbone=first)
        levels = range(self.num_outs) if direction == 'bu' else reversed(range(self.num_outs))
        for level in levels:
            size = before[level].shape[2:]
            terms = []
            for name, link in nodes[level].items():
                source, step = LINKS[name]
                terms.append(link(sources[source][level + step], size))
            after[level] = sum(terms) if terms else before[level]
        return after


def build_transition(cfg: dict, in_channels: int, out_channels: int) -> nn.Module:
    """Build the layer of a link; ``ConfigError`` if the ``type`` of ``cfg`` is no key of ``TRANSITIONS``."""
    cfg = dict(cfg)
    kind = cfg.pop('type')
    if kind not in TRANSITIONS:
        raise ConfigError(f'a transition of FPG must be one of {", ".join(TRANSITIONS)}, but got type={kind!r}')
    return TRANSITIONS[kind](in_channels, out_channels, **cfg)
