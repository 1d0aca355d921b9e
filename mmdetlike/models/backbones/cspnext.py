"""CSPNeXt: RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784."""

from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .csp_darknet import DEFAULT_INIT, DEFAULT_NORM, Arch, CSPBackbone

DEFAULT_ACT = dict(type='SiLU')


@MODELS.register_module()
class CSPNeXt(CSPBackbone):
    """CSPNeXt backbone of RTMDet: a stem, stage 0, and stages 1 to 4 (P5) or 5 (P6) that halve the map.

    Args:
        arch: ``'P5'`` or ``'P6'``.
        deepen_factor: Depth of the network.
        widen_factor: Width of the network.
        out_indices: Stages whose maps ``forward`` returns.
        frozen_stages: Stages up to this one get no gradient; -1 freezes nothing, 0 the stem.
        use_depthwise: Use depthwise separable convolutions everywhere.
        expand_ratio: Width of a ``CSPLayer``'s parts as a share of its output.
        arch_ovewrite: An architecture in place of the named one: for each stage its input and output channels,
            its number of blocks, whether these have shortcuts, and whether there is spatial pyramid pooling.
        spp_kernel_sizes: Sides of the pooling windows of spatial pyramid pooling, odd, rising.
        channel_attention: Weigh the channels in each ``CSPLayer``.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        act_cfg: Activation.
        norm_eval: Keep batch norms on their running statistics while training.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: ``arch``, ``out_indices`` or ``frozen_stages`` is out of range.
    """

    arch_settings = {
        'P5': (
            (64, 128, 3, True, False),
            (128, 256, 6, True, False),
            (256, 512, 6, True, False),
            (512, 1024, 3, False, True),
        ),
        'P6': (
            (64, 128, 3, True, False),
            (128, 256, 6, True, False),
            (256, 512, 6, True, False),
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
        expand_ratio: float = 0.5,
        arch_ovewrite: Arch | None = None,
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        stages = self.scaled_arch(arch, arch_ovewrite, deepen_factor, widen_factor)
        super().__init__(len(stages), out_indices, frozen_stages, norm_eval, init_cfg)
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        csp = dict(expand_ratio=expand_ratio, use_cspnext_block=True, channel_attention=channel_attention)
        self.build_stages(self._stem(stages[0][0], common), stages, spp_kernel_sizes, use_depthwise, common, **csp)

    @staticmethod
    def _stem(channels: int, common: dict) -> nn.Sequential:
        half = channels // 2
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **common),
            ConvModule(half, half, 3, padding=1, **common),
            ConvModule(half, channels, 3, padding=1, **common),
        )
