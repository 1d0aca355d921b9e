"""Path aggregation with cross stage partial blocks: PANet, arXiv 1803.01534, as in YOLOX and RTMDet."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, CSPLayer, conv_class
from mmdetlike.registry import MODELS

DEFAULT_UPSAMPLE = dict(scale_factor=2, mode='nearest')
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


class CSPPAFPN(BaseModule):
    """A top-down and a bottom-up pathway that join levels by concatenation and a ``CSPLayer``.

    A subclass sets ``out_convs``, one a level, which bring the maps to a common number of channels.

    Args:
        in_channels: Channels of each backbone map, fine to coarse.
        upsample_cfg: Arguments of ``nn.Upsample``.
        use_depthwise: Use depthwise separable convolutions.
        common: ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of all layers.
        csp_settings: Further arguments of each ``CSPLayer``.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        upsample_cfg: dict,
        use_depthwise: bool,
        common: dict,
        csp_settings: dict,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = list(in_channels)
        self.upsample = nn.Upsample(**upsample_cfg)
        csp = dict(csp_settings, add_identity=False, use_depthwise=use_depthwise, **common)
        rising = list(pairwise(self.in_channels))
        falling = rising[::-1]
        self.reduce_layers = nn.ModuleList(ConvModule(coarse, fine, 1, **common) for fine, coarse in falling)
        self.top_down_blocks = nn.ModuleList(CSPLayer(fine * 2, fine, **csp) for fine, _ in falling)
        self.downsamples = nn.ModuleList(
            conv_class(use_depthwise)(fine, fine, 3, stride=2, padding=1, **common) for fine, _ in rising
        )
        self.bottom_up_blocks = nn.ModuleList(CSPLayer(fine * 2, coarse, **csp) for fine, coarse in rising)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), each half as large as the one before -> (B, out_channels, H_i, W_i).

        Raises:
            ValueError: The number of maps differs from ``in_channels``.
        """
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'{type(self).__name__} was built for {len(self.in_channels)} backbone maps, got {len(inputs)}'
            )
        top, laterals = inputs[-1], []
        for finer, reduce, block in zip(reversed(inputs[:-1]), self.reduce_layers, self.top_down_blocks):
            laterals.append(reduce(top))
            top = block(torch.cat([self.upsample(laterals[-1]), finer], dim=1))
        outs = [top]
        for lateral, downsample, block in zip(reversed(laterals), self.downsamples, self.bottom_up_blocks):
            outs.append(block(torch.cat([downsample(outs[-1]), lateral], dim=1)))
        return tuple(conv(out) for conv, out in zip(self.out_convs, outs))


@MODELS.register_module()
class YOLOXPAFPN(CSPPAFPN):
    """Neck of YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430.

    Args:
        in_channels: Channels of each backbone map, fine to coarse.
        out_channels: Channels of every map put out.
        num_csp_blocks: Blocks of each ``CSPLayer``.
        use_depthwise: Use depthwise separable convolutions.
        upsample_cfg: Arguments of ``nn.Upsample``.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        act_cfg: Activation.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        upsample_cfg: dict = DEFAULT_UPSAMPLE,
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        csp = dict(num_blocks=num_csp_blocks)
        super().__init__(in_channels, upsample_cfg, use_depthwise, common, csp, init_cfg)
        self.out_convs = nn.ModuleList(ConvModule(c, out_channels, 1, **common) for c in in_channels)


@MODELS.register_module()
class CSPNeXtPAFPN(CSPPAFPN):
    """Neck of RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784.

    Args:
        in_channels: Channels of each backbone map, fine to coarse.
        out_channels: Channels of every map put out.
        num_csp_blocks: Blocks of each ``CSPLayer``.
        use_depthwise: Use depthwise separable convolutions everywhere.
        expand_ratio: Width of a ``CSPLayer``'s parts as a share of its output.
        upsample_cfg: Arguments of ``nn.Upsample``.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        act_cfg: Activation.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        upsample_cfg: dict = DEFAULT_UPSAMPLE,
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        csp = dict(num_blocks=num_csp_blocks, expand_ratio=expand_ratio, use_cspnext_block=True)
        super().__init__(in_channels, upsample_cfg, use_depthwise, common, csp, init_cfg)
        conv = conv_class(use_depthwise)
        self.out_convs = nn.ModuleList(conv(c, out_channels, 3, padding=1, **common) for c in in_channels)
