"""Feature Pyramid Networks for Object Detection, arXiv 1612.03144."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .inputs import PyramidNeck

EXTRA_CONV_SOURCES = ('on_input', 'on_lateral', 'on_output')
FUSE_TYPES = ('sum', 'avg')


@MODELS.register_module()
class FPN(PyramidNeck):
    """A top-down pathway that gives every level the semantics of the deepest one.

    Args:
        in_channels, start_level: As of ``PyramidNeck``.
        out_channels, num_outs: Channels and number of the maps put out; beyond the backbone's they come by striding.
        end_level: As of ``PyramidNeck``; with an explicit end no extra level is made.
        add_extra_convs: Make the extra levels by strided convolutions on the last backbone map (``'on_input'`` or
            True), its lateral (``'on_lateral'``) or the last output (``'on_output'``); by max pooling where False.
        relu_before_extra_convs: Apply ReLU before each extra convolution but the first.
        no_norm_on_lateral: Leave the norm out of the lateral convolutions.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.
        upsample_cfg: Arguments of ``interpolate``; a ``scale_factor`` replaces the size of the finer level.
        force_grad_on_level: Give a gradient, if only of zeros, to all maps put out while training, so that processes
            which train together need not look for levels that nothing was learned from.
        fuse_type: A lateral and the coarser map are added (``'sum'``) or averaged (``'avg'``, as in Detectron2).
        top_block: A module of your own, or its config, that makes the extra levels: ``forward`` takes one map and
            returns a list of ``num_levels`` coarser ones. Where its ``in_feature`` is ``'res5'`` the map is the
            backbone's last, else the last one put out. ``init_weights`` treats its layers as the neck's own.

    Raises:
        ValueError: ``num_outs``, ``add_extra_convs``, ``fuse_type`` or ``top_block`` doesn't fit, or ``interpolate``
            doesn't take ``upsample_cfg``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        upsample_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        fuse_type: str = 'sum',
        force_grad_on_level: bool = False,
        top_block: nn.Module | dict | None = None,
    ) -> None:
        init_cfg = init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform')
        super().__init__(in_channels, start_level, end_level, init_cfg)
        self.num_outs = num_outs
        levels = self.end_level - start_level
        num_extra = num_outs - levels
        if num_extra < 0 or (num_extra and self.end_level < self.num_ins):
            raise ConfigError(
                f'num_outs={num_outs} does not fit {levels} backbone levels (start_level={start_level}, '
                f'end_level={end_level}, {self.num_ins} maps); extra levels need end_level=-1'
            )
        self.add_extra_convs = 'on_input' if add_extra_convs is True else add_extra_convs
        if self.add_extra_convs and self.add_extra_convs not in EXTRA_CONV_SOURCES:
            raise ValueError(f'add_extra_convs must be a bool or one of {EXTRA_CONV_SOURCES}, got {add_extra_convs!r}')
        if fuse_type not in FUSE_TYPES:
            raise ValueError(f'fuse_type must be one of {FUSE_TYPES}, got {fuse_type!r}')
        self.fuse_type, self.force_grad_on_level = fuse_type, force_grad_on_level
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg or dict(mode='nearest'))
        self._check_upsampling()

        # not in place: an activation would change a lateral that the level below still adds to its own
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
        lateral = dict(layer, norm_cfg=None if no_norm_on_lateral else norm_cfg)
        self.build_layers(out_channels, num_extra, lateral, layer)
        if top_block is not None and self.add_extra_convs:
            raise ValueError(f'give either top_block or add_extra_convs, got add_extra_convs={add_extra_convs!r} too')
        self.top_block = None if top_block is None else build_top_block(top_block, num_extra)

    def build_layers(self, out_channels: int, num_extra: int, lateral: dict, layer: dict) -> None:
        """Hook: make the layers for maps of ``used_channels``; called once at the end of the constructor.

        ``num_extra`` maps are put out beyond those. ``lateral`` are arguments of the 1x1 ``ConvModule`` layers,
        ``layer`` those of all others.
        """
        self.lateral_convs = nn.ModuleList()
        self.fpn_convs = nn.ModuleList()
        # level by level: a seed then draws the weights that it drew in the original
        for channels in self.used_channels:
            self.lateral_convs.append(ConvModule(channels, out_channels, 1, **lateral))
            self.fpn_convs.append(ConvModule(out_channels, out_channels, 3, padding=1, **layer))
        # without ``add_extra_convs`` the extra levels are pooled and have no parameters
        for i in range(num_extra if self.add_extra_convs else 0):
            channels = self.used_channels[-1] if i == 0 and self.add_extra_convs == 'on_input' else out_channels
            self.fpn_convs.append(ConvModule(channels, out_channels, 3, stride=2, padding=1, **layer))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, H_i, W_i)."""
        used = self.used_maps(inputs)
        laterals = self.top_down(used)
        outs = self.add_extra_levels(self.outputs(laterals), used[-1], laterals[-1])
        return with_gradients(outs) if self.force_grad_on_level and self.training else outs

    def top_down(self, used: Sequence[Tensor]) -> list[Tensor]:
        """Laterals (B, out_channels, H_i, W_i) of the backbone maps, each fused with the coarser ones."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used)]
        for i in range(len(laterals) - 1, 0, -1):
            fused = laterals[i - 1] + self._upsample(laterals[i], laterals[i - 1].shape[2:])
            laterals[i - 1] = fused / 2 if self.fuse_type == 'avg' else fused
        return laterals

    def outputs(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """Hook: the maps put out, as many as the fused laterals and of their shapes."""
        return [conv(x) for conv, x in zip(self.fpn_convs, laterals)]

    def add_extra_levels(self, outs: list[Tensor], last_input: Tensor, last_lateral: Tensor) -> tuple[Tensor, ...]:
        """``outs`` and, after them, the levels that the backbone has no map for."""
        if self.top_block is not None:
            return (*outs, *top_levels(self.top_block, last_input, outs[-1]))
        source = dict(on_input=last_input, on_lateral=last_lateral, on_output=outs[-1]).get(self.add_extra_convs)
        for i in range(len(self.lateral_convs), len(self.fpn_convs)):
            outs.append(self.fpn_convs[i](source))
            source = F.relu(outs[-1]) if self.relu_before_extra_convs else outs[-1]
        while len(outs) < self.num_outs:
            # a window of one pixel: it takes every second pixel, as the P6 of Faster R-CNN with FPN does
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)

    def _check_upsampling(self) -> None:
        """Upsample one pixel: a wrong setting would show only when the first image comes."""
        try:
            self._upsample(torch.zeros(1, 1, 1, 1, device='cpu'), (2, 2))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f'torch refuses upsample_cfg={self.upsample_cfg}: {error}') from error

    def _upsample(self, x: Tensor, size) -> Tensor:
        # by default to the size of the finer map: sides that are odd are not doubled exactly
        if 'scale_factor' in self.upsample_cfg:
            return F.interpolate(x, **self.upsample_cfg)
        return F.interpolate(x, size=size, **self.upsample_cfg)


@MODELS.register_module()
class PAFPN(FPN):
    """A feature pyramid with a second, bottom-up pathway, which gives every level the finest one's detail.

    Path Aggregation Network for Instance Segmentation, arXiv 1803.01534.
    """

    def build_layers(self, out_channels: int, num_extra: int, lateral: dict, layer: dict) -> None:
        """The layers of ``FPN``, and for each step up two more: one that strides, one after the sum."""
        super().build_layers(out_channels, num_extra, lateral, layer)
        steps = range(len(self.used_channels) - 1)
        self.downsample_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=2, padding=1, **layer) for _ in steps
        )
        self.pafpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, padding=1, **layer) for _ in steps)

    def outputs(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        maps = super().outputs(laterals)
        for i, downsample in enumerate(self.downsample_convs):
            maps[i + 1] = maps[i + 1] + downsample(maps[i])
        return maps[:1] + [conv(x) for conv, x in zip(self.pafpn_convs, maps[1:])]


def with_gradients(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same maps (B, C, H_i, W_i): whichever is learned from, the others have a gradient of zeros."""
    # one pixel of each is enough, and what it holds doesn't matter
    nothing = sum(x[:, :1, :1, :1].nan_to_num(posinf=0.0, neginf=0.0) * 0 for x in maps)
    return tuple(x + nothing for x in maps)


def build_top_block(top_block: nn.Module | dict, num_extra: int) -> nn.Module:
    """The module of the user's own that makes ``num_extra`` levels; ``ValueError`` if ``num_levels`` of it differs."""
    block = MODELS.build(top_block)
    num_levels = getattr(block, 'num_levels', None)
    if num_levels != num_extra:
        name = type(block).__name__
        told = f'{name} has no num_levels' if num_levels is None else f'{name}.num_levels is {num_levels}'
        raise ValueError(f'top_block must make the {num_extra} levels that num_outs leaves to it, but {told}')
    return block


def top_levels(block: nn.Module, last_input: Tensor, last_output: Tensor) -> Sequence[Tensor]:
    """The levels that a top block makes of the backbone's last map (B, C, H, W) or of the last one put out.

    Its ``in_feature`` tells of which: the one put out where that is absent or begins with ``p`` (``p5``), else that of
    the backbone (``res5``). ``ValueError`` if it returns more or fewer maps than its ``num_levels`` says.
    """
    in_feature = getattr(block, 'in_feature', 'p')
    levels = block(last_output if in_feature.startswith('p') else last_input)
    if isinstance(levels, Tensor) or len(levels) != block.num_levels:
        given = 'a tensor' if isinstance(levels, Tensor) else f'{len(levels)} maps'
        raise ValueError(f'top_block {type(block).__name__} must return a list of {block.num_levels} maps, got {given}')
    return levels
