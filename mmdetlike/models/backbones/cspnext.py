"""CSPNeXt: RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784."""

from collections.abc import Sequence

from torch import nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .csp_darknet import CSPDarknet, csp_archs


@MODELS.register_module()
class CSPNeXt(CSPDarknet):
    """CSPNeXt backbone of RTMDet: large kernels, a stem of convolutions and attention over channels.

    Args:
        spp_kernel_sizes: Kernels of the spatial pyramid pooling.
        channel_attention: Weigh channels by what the whole map shows, at the end of each stage.
        act_cfg: Activation of the convolutions.
        kwargs: See ``CSPDarknet``.
    """

    arch_settings = csp_archs(6)
    use_cspnext_block = True

    def __init__(
        self,
        arch: str = 'P5',
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        act_cfg: dict = {'type': 'SiLU'},  # noqa: B006
        **kwargs,
    ) -> None:
        settings = dict(spp_kernal_sizes=spp_kernel_sizes, channel_attention=channel_attention, act_cfg=act_cfg)
        super().__init__(arch, **settings, **kwargs)

    @staticmethod
    def build_stem(channels: int, **layers) -> nn.Sequential:
        half = channels // 2
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **layers),
            ConvModule(half, half, 3, padding=1, **layers),
            ConvModule(half, channels, 3, padding=1, **layers),
        )
