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
        spp_kernel_sizes: ``spp_kernal_sizes`` of ``CSPDarknet``, which has the other arguments too.
    """

    arch_settings = csp_archs(6)
    use_cspnext_block = True

    def __init__(
        self,
        *args,
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        act_cfg: dict = {'type': 'SiLU'},  # noqa: B006
        **kwargs,
    ) -> None:
        settings = dict(spp_kernal_sizes=spp_kernel_sizes, channel_attention=channel_attention, act_cfg=act_cfg)
        super().__init__(*args, **settings, **kwargs)

    @staticmethod
    def _stem(channels: int, **layers) -> nn.Sequential:
        half = channels // 2
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **layers),
            ConvModule(half, half, 3, padding=1, **layers),
            ConvModule(half, channels, 3, padding=1, **layers),
        )
