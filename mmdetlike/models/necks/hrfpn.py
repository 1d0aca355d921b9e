"""HRFPN: the pyramid of HRNet, High-Resolution Representations for Labeling Pixels and Regions, arXiv 1904.04514."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, maybe_recompute
from mmdetlike.registry import MODELS

from .inputs import check_number

POOLINGS = dict(AVG=F.avg_pool2d, MAX=F.max_pool2d)


@MODELS.register_module()
class HRFPN(BaseModule):
    """All maps brought to the finest one's size, joined and reduced, and a pyramid pooled from that.

    Args:
        in_channels, out_channels: Channels of each backbone map, and of every map put out.
        num_outs: Number of maps put out, each with half the resolution of the one before.
        pooling_type: ``'AVG'`` or ``'MAX'``.
        conv_cfg, norm_cfg: Convolution and norm layer.
        with_cp: Trade compute for memory by activation checkpointing.
        stride: Stride of the 3x3 convolution on each level.

    Raises:
        ValueError: ``pooling_type`` is unknown.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 5,
        pooling_type: str = 'AVG',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        stride: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Caffe2Xavier', layer='Conv2d'))
        if pooling_type not in POOLINGS:
            raise ValueError(f'pooling_type must be one of {", ".join(POOLINGS)}, got {pooling_type!r}')
        self.num_ins = len(in_channels)
        self.num_outs = num_outs
        self.with_cp = with_cp
        self.pooling = POOLINGS[pooling_type]
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=None)
        self.reduction_conv = ConvModule(sum(in_channels), out_channels, 1, **common)
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=stride, padding=1, **common) for _ in range(num_outs)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, ., .).

        Level i has ``H_0 / 2**i / stride`` rows.
        """
        check_number(self, inputs, self.num_ins)
        size = inputs[0].shape[2:]
        resized = [F.interpolate(x, size=size, mode='bilinear', align_corners=False) for x in inputs[1:]]
        # HRNet's maps are rich at every resolution, so one joint map is enough, and coarser levels are pooled from it
        joined = maybe_recompute(self.with_cp, self.reduction_conv, torch.cat([inputs[0], *resized], dim=1))
        pooled = [joined] + [self.pooling(joined, 2**i, stride=2**i) for i in range(1, self.num_outs)]
        return tuple(maybe_recompute(self.with_cp, conv, x) for conv, x in zip(self.fpn_convs, pooled))
