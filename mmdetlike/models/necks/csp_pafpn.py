"""Path aggregation with cross stage partial blocks: PANet, arXiv 1803.01534, as in YOLOX and RTMDet."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, CSPLayer, conv_class
from mmdetlike.models.layers.csp_layer import BN_OF_YOLO, SWISH, YOLO_INIT
from mmdetlike.registry import MODELS

from .inputs import check_number, join


@MODELS.register_module()
class YOLOXPAFPN(BaseModule):
    """Neck of YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430.

    A top-down and a bottom-up pathway join levels by concatenation and a ``CSPLayer``.

    Args:
        in_channels, out_channels: Channels of each backbone map, fine to coarse, and of every map put out.
        num_csp_blocks: Blocks of each ``CSPLayer``.
        use_depthwise: Use depthwise separable convolutions.
        upsample_cfg: Arguments of ``nn.Upsample``.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.
        expand_ratio: Width of a ``CSPLayer``'s parts as a share of its output.
    """

    use_cspnext_block = False

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        upsample_cfg: dict = {'scale_factor': 2, 'mode': 'nearest'},  # noqa: B006
        conv_cfg: dict | None = None,
        norm_cfg: dict = BN_OF_YOLO,
        act_cfg: dict = SWISH,
        init_cfg: dict | list[dict] | None = YOLO_INIT,
        expand_ratio: float = 0.5,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = list(in_channels)
        self.upsample = nn.Upsample(**upsample_cfg)
        conv = conv_class(use_depthwise)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        csp = dict(num_blocks=num_csp_blocks, expand_ratio=expand_ratio, add_identity=False, **layers)
        csp.update(use_depthwise=use_depthwise, use_cspnext_block=self.use_cspnext_block)
        rising = list(pairwise(self.in_channels))
        falling = rising[::-1]
        self.reduce_layers = nn.ModuleList(ConvModule(coarse, fine, 1, **layers) for fine, coarse in falling)
        self.top_down_blocks = nn.ModuleList(CSPLayer(fine * 2, fine, **csp) for fine, _ in falling)
        self.downsamples = nn.ModuleList(conv(fine, fine, 3, stride=2, padding=1, **layers) for fine, _ in rising)
        self.bottom_up_blocks = nn.ModuleList(CSPLayer(fine * 2, coarse, **csp) for fine, coarse in rising)
        self.out_convs = nn.ModuleList(self._out_conv(conv, c, out_channels, **layers) for c in in_channels)

    @staticmethod
    def _out_conv(conv: type[nn.Module], in_channels: int, out_channels: int, **layers) -> nn.Module:
        """What brings a map to the common number of channels; ``conv`` is the pathways' convolution."""
        return ConvModule(in_channels, out_channels, 1, **layers)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i) -> maps (B, out_channels, H_i, W_i); ``join`` tells what sizes fit."""
        check_number(self, inputs, len(self.in_channels))
        top = inputs[-1]
        laterals = []  # coarse to fine; the way up meets them in reverse
        for finer, reduce, block in zip(reversed(inputs[:-1]), self.reduce_layers, self.top_down_blocks):
            laterals.append(reduce(top))
            top = block(join(self, self.upsample(laterals[-1]), finer))
        outs = [top]
        for lateral, downsample, block in zip(reversed(laterals), self.downsamples, self.bottom_up_blocks):
            outs.append(block(torch.cat([downsample(outs[-1]), lateral], dim=1)))
        return tuple(conv(out) for conv, out in zip(self.out_convs, outs))


@MODELS.register_module()
class CSPNeXtPAFPN(YOLOXPAFPN):
    """Neck of RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784."""

    use_cspnext_block = True

    @staticmethod
    def _out_conv(conv: type[nn.Module], in_channels: int, out_channels: int, **layers) -> nn.Module:
        return conv(in_channels, out_channels, 3, padding=1, **layers)
