"""Darknet with cross stage partial blocks: CSPNet, arXiv 1911.11929, as in YOLOX, arXiv 2107.08430."""

import math
from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import CSPLayer, Focus, SPPBottleneck, conv_class
from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_choice, check_range

DEFAULT_NORM = dict(type='BN', momentum=0.03, eps=0.001)
DEFAULT_ACT = dict(type='Swish')
DEFAULT_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=math.sqrt(5),
    distribution='uniform',
    mode='fan_in',
    nonlinearity='leaky_relu',
)
Arch = Sequence[tuple[int, int, int, bool, bool]]


class CSPBackbone(StagedBackbone):
    """A stem, stage 0, and stages of a strided convolution and a ``CSPLayer``, from 1.

    Args:
        num_stages: Number of stages without the stem.
        out_indices: Stages whose maps ``forward`` returns.
        frozen_stages: Stages up to this one get no gradient; -1 freezes nothing, 0 the stem.
        norm_eval: Keep all batch norms on their running statistics while training.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` is out of range.
    """

    arch_settings: dict[str, Arch]

    def __init__(
        self,
        num_stages: int,
        out_indices: Sequence[int],
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        check_range('out_indices', out_indices, range(num_stages + 1))
        check_range('frozen_stages', frozen_stages, range(-1, num_stages + 1))
        super().__init__(out_indices, frozen_stages + 1, norm_eval, init_cfg)
        self.frozen_stages = frozen_stages

    @classmethod
    def scaled_arch(cls, arch: str, arch_ovewrite: Arch | None, deepen_factor: float, widen_factor: float) -> Arch:
        """The stages of ``arch_ovewrite`` or of the architecture called ``arch``, made as deep and wide as asked.

        Raises:
            ValueError: ``arch`` is unknown.
        """
        check_choice('arch', arch, list(cls.arch_settings))
        stages = arch_ovewrite or cls.arch_settings[arch]
        return [
            (int(a * widen_factor), int(b * widen_factor), max(round(num_blocks * deepen_factor), 1), *flags)
            for a, b, num_blocks, *flags in stages
        ]

    def build_stages(
        self,
        stem: nn.Module,
        arch: Arch,
        spp_kernel_sizes: Sequence[int],
        use_depthwise: bool,
        common: dict,
        **csp_settings,
    ) -> None:
        """Add the stem and the stages of ``arch``.

        Args:
            stem: The first stage.
            arch: Of each stage the channels of its input and output, its number of blocks, whether these have
                shortcuts, and whether there is spatial pyramid pooling.
            spp_kernel_sizes: Sides of the pooling windows.
            use_depthwise: Use depthwise separable convolutions.
            common: ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of all layers.
            csp_settings: Further arguments of each ``CSPLayer``.
        """
        self.add_stage('stem', stem)
        for i, (channels, width, num_blocks, add_identity, use_spp) in enumerate(arch, 1):
            layers: list[nn.Module] = [conv_class(use_depthwise)(channels, width, 3, stride=2, padding=1, **common)]
            if use_spp:
                layers.append(SPPBottleneck(width, width, spp_kernel_sizes, **common))
            block = dict(num_blocks=num_blocks, add_identity=add_identity, use_depthwise=use_depthwise)
            layers.append(CSPLayer(width, width, **block, **csp_settings, **common))
            self.add_stage(f'stage{i}', nn.Sequential(*layers))
        self.freeze_stages()


@MODELS.register_module()
class CSPDarknet(CSPBackbone):
    """CSPDarknet backbone of YOLOX: a stem, stage 0, and stages 1 to 4 (P5) or 5 (P6) that halve the map.

    Args:
        arch: ``'P5'`` or ``'P6'``.
        deepen_factor: Depth of the network.
        widen_factor: Width of the network.
        out_indices: Stages whose maps ``forward`` returns.
        frozen_stages: Stages up to this one get no gradient; -1 freezes nothing, 0 the stem.
        use_depthwise: Use depthwise separable convolutions.
        arch_ovewrite: An architecture in place of the named one: for each stage its input and output channels,
            its number of blocks, whether these have shortcuts, and whether there is spatial pyramid pooling.
        spp_kernal_sizes: Sides of the pooling windows of spatial pyramid pooling, odd, rising.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        act_cfg: Activation.
        norm_eval: Keep batch norms on their running statistics while training.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: ``arch``, ``out_indices`` or ``frozen_stages`` is out of range.

    Examples:
        >>> maps = CSPDarknet(deepen_factor=0.33, widen_factor=0.25).eval()(torch.rand(1, 3, 416, 416))
        >>> [tuple(m.shape) for m in maps]
        [(1, 64, 52, 52), (1, 128, 26, 26), (1, 256, 13, 13)]
    """

    arch_settings = {
        'P5': (
            (64, 128, 3, True, False),
            (128, 256, 9, True, False),
            (256, 512, 9, True, False),
            (512, 1024, 3, False, True),
        ),
        'P6': (
            (64, 128, 3, True, False),
            (128, 256, 9, True, False),
            (256, 512, 9, True, False),
            (512, 768, 3, True, False),
            (768, 1024, 3, False, True),
        ),
    }

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Arch | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        stages = self.scaled_arch(arch, arch_ovewrite, deepen_factor, widen_factor)
        super().__init__(len(stages), out_indices, frozen_stages, norm_eval, init_cfg)
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        stem = Focus(3, stages[0][0], kernel_size=3, **common)
        self.build_stages(stem, stages, spp_kernal_sizes, use_depthwise, common)
