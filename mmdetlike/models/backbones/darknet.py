"""Darknet: YOLOv3: An Incremental Improvement, arXiv 1804.02767."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import ConvModule, DarknetBottleneck
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_choice, check_in_range, weight_init

DEFAULT_NORM = dict(type='BN', requires_grad=True)
DEFAULT_ACT = dict(type='LeakyReLU', negative_slope=0.1)


@MODELS.register_module()
class Darknet(StagedBackbone):
    """Darknet backbone: a stem, stage 0, and five stages that halve the map, 1 to 5.

    Args:
        depth: 53.
        out_indices: Stages, 0 to 5, whose maps ``forward`` returns.
        frozen_stages: This many stages, counting the stem as the first, get no gradient; -1 freezes nothing.
        conv_cfg, norm_cfg, act_cfg, norm_eval, pretrained, init_cfg: As of ``StagedBackbone``.

    Raises:
        ValueError: ``depth``, ``out_indices`` or ``frozen_stages`` is out of range.

    Examples:
        >>> maps = Darknet(depth=53).eval()(torch.rand(1, 3, 416, 416))
        >>> [tuple(m.shape) for m in maps]
        [(1, 256, 52, 52), (1, 512, 26, 26), (1, 1024, 13, 13)]
    """

    # blocks of each stage; input and output channels of each stage
    arch_settings = {53: ((1, 2, 8, 8, 4), ((32, 64), (64, 128), (128, 256), (256, 512), (512, 1024)))}

    def __init__(
        self,
        depth: int = 53,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
        norm_eval: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice('depth', depth, list(self.arch_settings))
        check_in_range('out_indices', out_indices, range(6))
        check_in_range('frozen_stages', frozen_stages, range(-1, 7))
        super().__init__(out_indices, max(frozen_stages, 0), norm_eval, weight_init(pretrained, init_cfg))
        self.depth = depth
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.add_stage('conv1', ConvModule(3, 32, 3, padding=1, **common))
        for i, (num_blocks, (channels, width)) in enumerate(zip(*self.arch_settings[depth]), 1):
            self.add_stage(f'conv_res_block{i}', self.make_conv_res_block(channels, width, num_blocks, **common))
        self.freeze_stages()

    @staticmethod
    def make_conv_res_block(
        in_channels: int,
        out_channels: int,
        res_repeat: int,
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
    ) -> nn.Sequential:
        """A stage: a convolution that halves the map and ``res_repeat`` residual blocks."""
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        # named as in checkpoints, which a plain Sequential would number
        layers = OrderedDict(conv=ConvModule(in_channels, out_channels, 3, stride=2, padding=1, **common))
        layers.update((f'res{j}', DarknetBottleneck(out_channels, out_channels, **common)) for j in range(res_repeat))
        return nn.Sequential(layers)
