"""ResNet: Deep Residual Learning for Image Recognition, arXiv 1512.03385, and its V1d variant, arXiv 1812.01187."""

from collections.abc import Sequence
from itertools import pairwise

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_conv_layer, build_norm_layer, build_plugin_layer, maybe_recompute
from mmdetlike.registry import MODELS
from mmdetlike_ops import DeformConv2dPack, ModulatedDeformConv2dPack

from .res_layer import ResLayer, build_stage, conv_norm
from .staged import StagedBackbone, check_in_range, weight_init

PLUGIN_POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


class ResidualBlock(BaseModule):
    """Base of the residual blocks: shortcut, named norm layers, plugins, activation checkpointing.

    A subclass registers its convolutions in ``build_layers``, which names them ``conv1``, ``conv2``, ... as
    checkpoints do, and where one of them is more than convolution, norm and ReLU, it says so in ``run_layer``.

    Args:
        in_channels, channels: Channels of the input, and base width; the block puts out ``channels * expansion``.
        stride, dilation: Of the block's one strided convolution, and of its 3x3 convolution.
        downsample: The shortcut where shapes differ, else None for the identity.
        style: As of ``ResNet``.
        dcn: Convolution that replaces the 3x3 one, e.g. ``dict(type='DCNv2', deform_groups=1)``.
        plugins: Layers after a convolution, each ``dict(cfg=..., position='after_conv3')``; None for none.
        layer_args: What the subclass's ``build_layers`` takes.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        dcn: dict | None = None,
        plugins: Sequence[dict] | None = None,
        init_cfg: dict | None = None,
        **layer_args,
    ) -> None:
        super().__init__(init_cfg)
        if style not in ('pytorch', 'caffe'):
            raise ValueError(f"style must be 'pytorch' or 'caffe', got {style!r}")
        self.in_channels, self.channels = in_channels, channels
        self.stride, self.dilation, self.style = stride, dilation, style
        self.with_cp = with_cp
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg or dict(type='BN')
        self.dcn = dcn
        self.conv_names: list[tuple[str, str]] = []
        self.build_layers(**layer_args)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self._build_plugins(plugins or ())

    def build_layers(self) -> None:
        """Make the convolutions with their norms, in the order in which they run."""
        raise NotImplementedError

    def _add_conv_norm(self, index: int, conv: nn.Module) -> None:
        """Register ``conv`` as ``conv{index}`` with its norm, as ``bn{index}`` or what the norm is called."""
        name, norm = build_norm_layer(self.norm_cfg, conv.out_channels, postfix=index)
        # names, not references: whoever replaces a module, e.g. to fuse or to quantize, replaces it here too
        self.add_module(f'conv{index}', conv)
        self.add_module(name, norm)
        self.conv_names.append((f'conv{index}', name))

    @property
    def norm1(self) -> nn.Module:
        return getattr(self, self.conv_names[0][1])

    @property
    def norm2(self) -> nn.Module:
        return getattr(self, self.conv_names[1][1])

    def _build_plugins(self, plugins: Sequence[dict]) -> None:
        self._plugins: dict[str, list[str]] = {position: [] for position in PLUGIN_POSITIONS}
        positions = PLUGIN_POSITIONS[: len(self.conv_names)]
        for plugin in plugins:
            if plugin['position'] not in positions:
                raise ValueError(f'plugin position must be one of {positions}, got {plugin["position"]!r}')
            channels = self.channels if plugin['position'] != 'after_conv3' else self.channels * self.expansion
            cfg = dict(plugin['cfg'])
            name, layer = build_plugin_layer(cfg, postfix=cfg.pop('postfix', ''), in_channels=channels)
            self.add_module(name, layer)
            self._plugins[plugin['position']].append(name)

    def residual(self, x: Tensor) -> Tensor:
        """The sum of shortcut and convolutions, before the last activation."""
        out = x
        for i in range(len(self.conv_names)):
            out = self.run_layer(i, out)
            for name in self._plugins[PLUGIN_POSITIONS[i]]:
                out = getattr(self, name)(out)
        return out + (x if self.downsample is None else self.downsample(x))

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        """Convolution ``index``, counted from 0, with its norm and, but for the last one, its activation."""
        conv, norm = self.conv_names[index]
        out = getattr(self, norm)(getattr(self, conv)(x))
        return out if index == len(self.conv_names) - 1 else self.relu(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels * expansion, H / stride, W / stride)."""
        # the activation works in place, so it stays outside of what is computed again
        return self.relu(maybe_recompute(self.with_cp, self.residual, x))


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, the block of ResNet-18 and 34."""

    def build_layers(self) -> None:
        if self.dcn is not None:
            raise ValueError('dcn needs the bottleneck block of ResNet-50 and deeper, not the basic block')
        first = dict(stride=self.stride, padding=self.dilation, dilation=self.dilation, bias=False)
        self._add_conv_norm(1, build_conv_layer(self.conv_cfg, self.in_channels, self.channels, 3, **first))
        self._add_conv_norm(2, build_conv_layer(self.conv_cfg, self.channels, self.channels, 3, padding=1, bias=False))


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions with a fourfold wider output, the block of ResNet-50 and deeper."""

    expansion = 4

    def build_layers(self) -> None:
        self.build_bottleneck(self.channels)

    def build_bottleneck(self, width: int, **middle) -> None:
        """The three convolutions, ``width`` channels inside; ``middle`` goes to ``build_middle``."""
        out = self.channels * self.expansion
        stride1, stride2 = (self.stride, 1) if self.style == 'caffe' else (1, self.stride)
        self._add_conv_norm(1, build_conv_layer(self.conv_cfg, self.in_channels, width, 1, stride=stride1, bias=False))
        self.build_middle(width, stride2, **middle)
        self._add_conv_norm(3, build_conv_layer(self.conv_cfg, width, out, 1, bias=False))
        if self.dcn is not None:
            self.register_load_state_dict_pre_hook(_rename_old_offsets)

    def build_middle(self, width: int, stride: int, groups: int = 1) -> None:
        self._add_conv_norm(2, self.conv3x3(width, stride, groups))

    @property
    def conv3x3_cfg(self) -> dict | None:
        """The 3x3 convolution: deformable where ``dcn`` says so."""
        # a setting of the block, not an argument of the layer
        dcn = dict(self.dcn or {})
        fall_back = dcn.pop('fallback_on_stride', False)
        return dcn if dcn and not fall_back else self.conv_cfg

    def conv3x3(self, width: int, stride: int, groups: int = 1) -> nn.Module:
        shape = dict(kernel_size=3, stride=stride, padding=self.dilation, dilation=self.dilation)
        return build_conv_layer(self.conv3x3_cfg, width, width, groups=groups, bias=False, **shape)


def _rename_old_offsets(block: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    """Old checkpoints have the layer that predicts the offsets of ``conv2`` beside it."""
    for name in ('weight', 'bias'):
        old = f'{prefix}conv2_offset.{name}'
        if old in state_dict:
            state_dict[f'{prefix}conv2.conv_offset.{name}'] = state_dict.pop(old)


BOTTLENECK_STAGES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def bottleneck_archs(block: type[Bottleneck]) -> dict[int, tuple[type[Bottleneck], Sequence[int]]]:
    """The block and the number of blocks in each stage of the depths that bottlenecks are used in."""
    return {depth: (block, num_blocks) for depth, num_blocks in BOTTLENECK_STAGES.items()}


@MODELS.register_module()
class ResNet(StagedBackbone):
    """ResNet backbone: an image in, the maps of the chosen stages out.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the image.
        stem_channels: Channels after the stem; ``base_channels`` where None.
        base_channels: Width of the first stage.
        num_stages: How many of the four stages to build.
        strides: Stride of each stage.
        dilations: Dilation of each stage; a tuple where the blocks of a stage differ, as in DeepLab's
            ``(1, 1, 1, (2, 4, 8))`` ("multi-grid", arXiv 1706.05587).
        out_indices: Stages whose maps ``forward`` returns.
        style: Where a bottleneck strides: ``'pytorch'`` on its 3x3, ``'caffe'`` on its first 1x1 convolution.
        deep_stem: Three 3x3 convolutions in place of the 7x7 one.
        avg_down: Average pooling in the strided shortcuts.
        frozen_stages: Stem and stages up to this one get no gradient; -1 freezes nothing, 0 the stem.
        dcn: Deformable convolution in place of the 3x3 ones of the stages that ``stage_with_dcn`` marks.
        stage_with_dcn: One flag a stage.
        plugins: Extra layers in blocks: ``dict(cfg=..., stages=(...), position='after_conv3')``.
        zero_init_residual: Start each block as the identity.
        conv_cfg, norm_cfg, norm_eval, with_cp, pretrained, init_cfg: As of ``StagedBackbone``.
        block_args: What a subclass's blocks take beyond a ResNet's.

    Raises:
        ValueError: ``depth`` is none of the known ones, the stages' settings differ in number, or ``frozen_stages`` is
            out of range.
    """

    arch_settings = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        **bottleneck_archs(Bottleneck),
    }

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int | Sequence[int]] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        dcn: dict | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: Sequence[dict] | None = None,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
        block_args: dict | None = None,
    ) -> None:
        check_stages(num_stages, strides, dilations, out_indices)
        check_in_range('frozen_stages', frozen_stages, range(-1, num_stages + 1))
        super().__init__(out_indices, 0, norm_eval, weight_init(pretrained, init_cfg))
        # zeroing would undo what a checkpoint brings
        self.zero_init_residual = zero_init_residual and not is_pretrained(self.init_cfg)
        self.depth, self.frozen_stages = depth, frozen_stages
        self.deep_stem, self.conv_cfg = deep_stem, conv_cfg
        self.block_args = block_args or {}
        self.norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        channels = stem_channels or base_channels
        self.build_stem(in_channels, channels)
        # stem layers are stages too, with negative numbers, so that ``out_indices`` counts from the first real one
        stem_size = len(self.stages)
        self.first_index = -stem_size
        self.num_frozen = stem_size + frozen_stages if frozen_stages >= 0 else 0
        common = dict(avg_down=avg_down, style=style, with_cp=with_cp, conv_cfg=conv_cfg, norm_cfg=self.norm_cfg)
        for i, settings in enumerate(self.stage_settings(depth, num_stages, base_channels)):
            stage = build_stage(
                in_channels=channels,
                stride=strides[i],
                dilation=dilations[i],
                dcn=dcn if dcn is not None and flag_of_stage('stage_with_dcn', stage_with_dcn, i) else None,
                plugins=self.make_stage_plugins(plugins or (), i),
                **settings,
                **common,
                **self.block_args,
            )
            channels = settings['channels'] * settings['block'].expansion
            self.add_stage(f'layer{i + 1}', stage)
        self.feat_dim = channels
        self.freeze_stages()

    def stage_settings(self, depth: int, num_stages: int, base_channels: int) -> list[dict]:
        """``block``, ``channels`` and ``num_blocks`` of each stage, with what else ``build_stage`` is to be told."""
        if depth not in self.arch_settings:
            raise ValueError(f'depth must be one of {sorted(self.arch_settings)}, got {depth}')
        block, stage_blocks = self.arch_settings[depth]
        return [
            dict(block=block, channels=base_channels * 2**i, num_blocks=count)
            for i, count in enumerate(stage_blocks[:num_stages])
        ]

    def make_res_layer(self, **kwargs) -> ResLayer:
        """A ``ResLayer`` of these arguments, with what this backbone's blocks take beyond a ResNet's."""
        return ResLayer(**{**self.block_args, **kwargs})

    @staticmethod
    def make_stage_plugins(plugins: Sequence[dict], stage_idx: int) -> list[dict]:
        """The plugins whose ``stages`` mark this stage (all stages where it is left out).

        Raises:
            ValueError: A plugin lacks its config, its position or a flag for this stage.
        """
        marked = []
        for plugin in plugins:
            if not {'cfg', 'position'} <= set(plugin):
                raise ValueError(
                    f"a plugin must be a dict with 'cfg', 'position' and perhaps 'stages', got {dict(plugin)}"
                )
            stages = plugin.get('stages')
            if stages is None or flag_of_stage('stages of a plugin', stages, stage_idx):
                marked.append(dict(cfg=plugin['cfg'], position=plugin['position']))
        return marked

    @property
    def norm1(self) -> nn.Module:
        """The stem's norm layer; a deep stem has several, and no one of this name."""
        if self.deep_stem:
            raise AttributeError('norm1: a deep stem has no norm layer of this name')
        return self.stages[1]

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, then set each block's last norm to zero where asked.

        Deformable convolutions start from the regular grid, which the initialization of their ``conv_offset`` would
        leave.
        """
        super().init_weights()
        if not is_pretrained(self.init_cfg):
            for module in self.modules():
                if isinstance(module, (DeformConv2dPack, ModulatedDeformConv2dPack)):
                    module.init_offset()
        if self.zero_init_residual:
            zero_last_norms(self)

    def build_stem(self, in_channels: int, channels: int) -> None:
        if self.deep_stem:
            self.add_stage('stem', self._deep_stem(in_channels, channels))
        else:
            self.add_stem_conv(in_channels, channels, kernel_size=7)
        self.add_stage('maxpool', nn.MaxPool2d(3, stride=2, padding=1))

    def add_stem_conv(self, in_channels: int, channels: int, kernel_size: int) -> None:
        shape = dict(kernel_size=kernel_size, stride=2, padding=kernel_size // 2, bias=False)
        self.add_stage('conv1', build_conv_layer(self.conv_cfg, in_channels, channels, **shape))
        self.add_stage(*build_norm_layer(self.norm_cfg, channels, postfix=1))
        self.add_stage('relu', nn.ReLU(inplace=True))

    def _deep_stem(self, in_channels: int, channels: int) -> nn.Sequential:
        widths = (in_channels, channels // 2, channels // 2, channels)
        layers: list[nn.Module] = []
        for conv, stride in zip(pairwise(widths), (2, 1, 1)):
            layers += conv_norm(conv, 3, stride, relu=True, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        return nn.Sequential(*layers)


def check_stages(num_stages: int, strides: Sequence[int], dilations: Sequence, out_indices: Sequence[int]) -> None:
    """Raise ValueError where the settings of the stages of a backbone don't fit together."""
    if not 1 <= num_stages <= 4 or len(strides) != num_stages or len(dilations) != num_stages:
        raise ValueError(
            f'num_stages (1 to 4) must match strides and dilations: got num_stages={num_stages}, '
            f'strides={tuple(strides)}, dilations={tuple(dilations)}'
        )
    if not all(0 <= i < num_stages for i in out_indices):
        raise ValueError(f'out_indices must be below num_stages={num_stages}, got {tuple(out_indices)}')


def zero_last_norms(model: nn.Module) -> None:
    """Let every residual block of ``model`` start as the identity: Accurate, Large Minibatch SGD, arXiv 1706.02677."""
    for module in model.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(getattr(module, module.conv_names[-1][1]).weight)


def is_pretrained(init_cfg: dict | Sequence[dict]) -> bool:
    """Whether an ``init_cfg`` loads a checkpoint."""
    cfgs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    return any(cfg['type'] in ('Pretrained', 'PretrainedInit') for cfg in cfgs)


def flag_of_stage(name: str, flags: Sequence[bool], stage: int) -> bool:
    """The flag of a stage; ``ConfigError`` where ``flags``, called ``name``, are too few."""
    if len(flags) <= stage:
        raise ConfigError(f'{name} must have a flag for each stage of the backbone, got {tuple(flags)}')
    return flags[stage]


@MODELS.register_module()
class ResNetV1d(ResNet):
    """ResNet with deep stem and average-pooled shortcuts: Bag of Tricks, arXiv 1812.01187."""

    def __init__(self, **kwargs) -> None:
        super().__init__(deep_stem=True, avg_down=True, **kwargs)


@MODELS.register_module()
class PResNet(ResNetV1d):
    """ResNet-vd as PaddleDetection and RT-DETR, arXiv 2304.08069, have it.

    It is ``ResNetV1d`` whose first stage begins with a projection also in ResNet-18 and 34.
    """

    def stage_settings(self, depth: int, num_stages: int, base_channels: int) -> list[dict]:
        return [dict(stage, project=True) for stage in super().stage_settings(depth, num_stages, base_channels)]
