"""HRNet: Deep High-Resolution Representation Learning for Visual Recognition, arXiv 1908.07919."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList, Sequential
from torch import Tensor, nn

from mmdetlike.models.layers import build_conv_layer, build_norm_layer
from mmdetlike.registry import MODELS

from .res_layer import build_stage, conv_norm
from .resnet import BasicBlock, Bottleneck, ResidualBlock, is_pretrained, zero_last_norms
from .staged import StagedBackbone, weight_init

# names of blocks in configs
BLOCKS = {'BASIC': BasicBlock, 'BOTTLENECK': Bottleneck}
NUM_STAGES = 4
STAGE_KEYS = ('num_modules', 'num_branches', 'block', 'num_blocks', 'num_channels')
STEM_CHANNELS = 64


def strided_path(in_channels: int, out_channels: int, steps: int, last_relu: bool, **layers) -> nn.Sequential:
    """``steps`` 3x3 convolutions of stride 2, the last of which changes the width."""
    first = [conv_norm((in_channels, in_channels), 3, stride=2, relu=True, **layers) for _ in range(steps - 1)]
    return nn.Sequential(*first, conv_norm((in_channels, out_channels), 3, stride=2, relu=last_relu, **layers))


class HRModule(BaseModule):
    """Parallel branches of different resolution, each of which then takes in what all the others found.

    ``num_blocks`` and ``num_channels`` are those of each branch, fine to coarse. A branch has half the resolution of
    the one before, and takes in and puts out ``block.expansion`` times its channels.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        num_blocks: Sequence[int],
        num_channels: Sequence[int],
        multiscale_output: bool = True,
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg or dict(type='BN'))
        widths = [channels * block.expansion for channels in num_channels]
        self.branches = ModuleList(
            build_stage(block, width, channels, count, with_cp=with_cp, **self.layers)
            for width, channels, count in zip(widths, num_channels, num_blocks)
        )
        every = range(len(widths))
        self.fuse_layers = ModuleList(
            ModuleList(self._path(widths, source, target) for source in every)
            for target in (every if multiscale_output else [0])
        )
        self.relu = nn.ReLU(inplace=True)

    def _path(self, widths: Sequence[int], source: int, target: int) -> nn.Module:
        """What brings branch ``source`` to the width and, if it is finer, to the resolution of branch ``target``."""
        channels = (widths[source], widths[target])
        if source == target:
            return nn.Identity()
        if source > target:
            return conv_norm(channels, 1, stride=1, relu=False, **self.layers)
        return strided_path(*channels, steps=target - source, last_relu=False, **self.layers)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C_i, H_i, W_i), fine to coarse -> maps of the same shapes, or the finest alone."""
        maps = [branch(x) for branch, x in zip(self.branches, inputs)]
        # one branch has nothing to fuse with; it has run its own activation
        if len(maps) == 1:
            return maps
        return [self.relu(self._fuse(target, maps)) for target in range(len(self.fuse_layers))]

    def _fuse(self, target: int, maps: Sequence[Tensor]) -> Tensor:
        # to the target's size, not by a factor: odd sides were rounded up on the way down
        size = maps[target].shape[2:]
        total = 0
        for x, path in zip(maps, self.fuse_layers[target]):
            x = path(x)
            total = total + (x if x.shape[2:] == size else F.interpolate(x, size=size, mode='nearest'))
        return total


@MODELS.register_module()
class HRNet(StagedBackbone):
    """HRNet backbone: it keeps a map of stride 4 throughout and adds a coarser one with each stage.

    Args:
        extra: ``stage1`` to ``stage4``, each a dict of ``num_modules``, ``num_branches``, ``block`` (``'BASIC'`` or
            ``'BOTTLENECK'``), ``num_blocks`` and ``num_channels`` (one number a branch).
        in_channels: Channels of the image.
        zero_init_residual: Start each block as the identity.
        multiscale_output: Put out the maps of all branches, not the finest alone.
        conv_cfg, norm_cfg, norm_eval, with_cp, pretrained, init_cfg: As of ``StagedBackbone``.

    Raises:
        ValueError: ``extra`` lacks something or its numbers don't fit.

    Example:
        >>> import torch
        >>> blocks = dict(num_modules=1, block='BASIC')
        >>> extra = dict(
        ...     stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(4,), num_channels=(64,)),
        ...     stage2=dict(blocks, num_branches=2, num_blocks=(4, 4), num_channels=(32, 64)),
        ...     stage3=dict(blocks, num_branches=3, num_blocks=(4, 4, 4), num_channels=(32, 64, 128)),
        ...     stage4=dict(blocks, num_branches=4, num_blocks=(4, 4, 4, 4), num_channels=(32, 64, 128, 256)))
        >>> maps = HRNet(extra, in_channels=1).eval()(torch.rand(1, 1, 32, 32))
        >>> [tuple(m.shape) for m in maps]
        [(1, 32, 8, 8), (1, 64, 4, 4), (1, 128, 2, 2), (1, 256, 1, 1)]
    """

    def __init__(
        self,
        extra: dict,
        in_channels: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        zero_init_residual: bool = False,
        multiscale_output: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_extra(extra)
        # what runs one after the other ends with stage 1, the seventh module; branches begin behind it
        super().__init__((6,), 0, norm_eval, weight_init(pretrained, init_cfg))
        self.zero_init_residual = zero_init_residual and not is_pretrained(self.init_cfg)
        self.extra, self.multiscale_output = extra, multiscale_output
        self.layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg or dict(type='BN'))
        self.build_stem(in_channels)
        first = extra['stage1']
        block = BLOCKS[first['block']]
        channels = first['num_channels'][0]
        layer1 = build_stage(block, STEM_CHANNELS, channels, first['num_blocks'][0], with_cp=with_cp, **self.layers)
        self.add_stage('layer1', layer1)
        widths = [channels * block.expansion]
        for i in range(2, NUM_STAGES + 1):
            stage = extra[f'stage{i}']
            new_widths = [channels * BLOCKS[stage['block']].expansion for channels in stage['num_channels']]
            self.add_module(f'transition{i - 1}', self._transition(widths, new_widths))
            all_outs = multiscale_output or i < NUM_STAGES
            self.add_module(f'stage{i}', self._stage(stage, with_cp, multiscale_output=all_outs))
            widths = new_widths

    def build_stem(self, in_channels: int) -> None:
        shape = dict(kernel_size=3, stride=2, padding=1, bias=False)
        for i, channels in enumerate((in_channels, STEM_CHANNELS), 1):
            self.add_stage(f'conv{i}', build_conv_layer(self.layers['conv_cfg'], channels, STEM_CHANNELS, **shape))
            self.add_stage(*build_norm_layer(self.layers['norm_cfg'], STEM_CHANNELS, postfix=i))
            self.add_stage(f'relu{i}', nn.ReLU(inplace=True))

    @property
    def norm1(self) -> nn.Module:
        return self.stages[1]

    @property
    def norm2(self) -> nn.Module:
        return self.stages[4]

    def _transition(self, old: Sequence[int], new: Sequence[int]) -> ModuleList:
        """From branches of the widths ``old`` to those of ``new``: what is new starts from the coarsest old one."""
        paths: list[nn.Module] = []
        for i, width in enumerate(new):
            if i >= len(old):
                paths.append(strided_path(old[-1], width, i + 1 - len(old), last_relu=True, **self.layers))
            elif old[i] != width:
                paths.append(conv_norm((old[i], width), 3, stride=1, relu=True, **self.layers))
            else:
                paths.append(nn.Identity())
        return ModuleList(paths)

    def _stage(self, stage: dict, with_cp: bool, multiscale_output: bool) -> Sequential:
        settings = dict(block=BLOCKS[stage['block']], num_blocks=stage['num_blocks'], with_cp=with_cp, **self.layers)
        all_outs = [True] * (stage['num_modules'] - 1) + [multiscale_output]
        return Sequential(
            *(HRModule(num_channels=stage['num_channels'], multiscale_output=outs, **settings) for outs in all_outs)
        )

    def init_weights(self) -> None:
        super().init_weights()
        if self.zero_init_residual:
            zero_last_norms(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> maps of stride 4, 8, 16 and 32, or the first of them alone."""
        maps = super().forward(x)
        for i in range(2, NUM_STAGES + 1):
            transition = getattr(self, f'transition{i - 1}')
            # a branch that is new starts from the coarsest one there is
            maps = [path(maps[min(j, len(maps) - 1)]) for j, path in enumerate(transition)]
            maps = getattr(self, f'stage{i}')(maps)
        return tuple(maps)


def check_extra(extra: dict) -> None:
    """Raise ValueError unless ``extra`` describes four stages, with as many numbers each as it has branches."""
    wanted = [f'stage{i}' for i in range(1, NUM_STAGES + 1)]
    if sorted(extra) != wanted:
        raise ValueError(f'extra must have the keys {", ".join(wanted)}, got {", ".join(extra)}')
    for name in wanted:
        stage = extra[name]
        where = f'extra[{name!r}]'
        if sorted(stage) != sorted(STAGE_KEYS):
            raise ValueError(f'{where} must have the keys {", ".join(STAGE_KEYS)}, got {", ".join(stage)}')
        if stage['block'] not in BLOCKS:
            raise ValueError(f'{where}: block must be one of {", ".join(BLOCKS)}, got {stage["block"]!r}')
        counts = {len(stage['num_blocks']), len(stage['num_channels']), stage['num_branches']}
        if len(counts) > 1:
            raise ValueError(
                f'{where}: num_blocks and num_channels must have one number for each of num_branches='
                f'{stage["num_branches"]} branches, got {list(stage["num_blocks"])} and {list(stage["num_channels"])}'
            )
