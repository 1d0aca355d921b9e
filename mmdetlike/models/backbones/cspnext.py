"""CSPNeXt: RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784."""

from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.models.layers.csp_layer import BN_OF_YOLO, YOLO_INIT
from mmdetlike.registry import MODELS

from .csp_darknet import Arch, CSPDarknet, csp_archs


@MODELS.register_module()
class CSPNeXt(CSPDarknet):
    """CSPNeXt backbone of RTMDet: large kernels, a stem of convolutions and attention over channels.

    Args:
        arch, deepen_factor, widen_factor, out_indices, frozen_stages, use_depthwise: As of ``CSPDarknet``.
        expand_ratio, arch_ovewrite, conv_cfg, norm_cfg, act_cfg, norm_eval, init_cfg: As of ``CSPDarknet``.
        spp_kernel_sizes: Sides of the pooling windows of spatial pyramid pooling, odd, ascending.
        channel_attention: Weigh channels by what the whole feature map shows, at the end of each stage.
    """

    arch_settings = csp_archs(6)
    use_cspnext_block = True

    def __init__(
        self,
        arch: str = 'P5',
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        act_cfg: dict = {'type': 'SiLU'},  # noqa: B006
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        arch_ovewrite: Arch | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict = BN_OF_YOLO,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = YOLO_INIT,
    ) -> None:
        network = dict(arch=arch, deepen_factor=deepen_factor, widen_factor=widen_factor, arch_ovewrite=arch_ovewrite)
        stages = dict(out_indices=out_indices, frozen_stages=frozen_stages, norm_eval=norm_eval, init_cfg=init_cfg)
        csp = dict(use_depthwise=use_depthwise, expand_ratio=expand_ratio, channel_attention=channel_attention)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(spp_kernal_sizes=spp_kernel_sizes, **network, **stages, **csp, **layers)

    @staticmethod
    def build_stem(channels: int, **layers) -> nn.Sequential:
        """Three 3x3 convolutions, of which the first one strides."""
        half = channels // 2
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **layers),
            ConvModule(half, half, 3, padding=1, **layers),
            ConvModule(half, channels, 3, padding=1, **layers),
        )
