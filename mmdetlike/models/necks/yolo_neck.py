"""Neck of YOLOv3: An Incremental Improvement, arXiv 1804.02767."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from mmengine.model import BaseModule, Sequential
from torch import Tensor

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .inputs import check_number, join

DEFAULT_NORM = dict(type='BN', requires_grad=True)
DEFAULT_ACT = dict(type='LeakyReLU', negative_slope=0.1)


def detection_block(in_channels: int, out_channels: int, layer: dict) -> Sequential:
    """Five convolutions, 1x1 and 3x3 in turn, the 3x3 ones with twice the channels of the output."""
    widths = (in_channels, out_channels, 2 * out_channels, out_channels, 2 * out_channels, out_channels)
    convs = OrderedDict()
    for i, channels in enumerate(pairwise(widths), 1):
        kernel_size = 3 if i % 2 == 0 else 1
        convs[f'conv{i}'] = ConvModule(*channels, kernel_size, padding=kernel_size // 2, **layer)
    return Sequential(convs)


@MODELS.register_module()
class YOLOV3Neck(BaseModule):
    """A top-down pathway that joins levels by concatenation.

    Args:
        num_scales: Number of levels.
        in_channels: Channels of each backbone map, coarse to fine.
        out_channels: Channels of each map put out, coarse to fine.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.

    Raises:
        ValueError: ``in_channels`` or ``out_channels`` are not ``num_scales`` in number.
    """

    def __init__(
        self,
        num_scales: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        act_cfg: dict = DEFAULT_ACT,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not num_scales == len(in_channels) == len(out_channels):
            raise ValueError(
                f'num_scales={num_scales} needs as many in_channels and out_channels, got '
                f'{list(in_channels)} and {list(out_channels)}'
            )
        self.num_scales = num_scales
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.detect1 = detection_block(in_channels[0], out_channels[0], common)
        for i in range(1, num_scales):
            self.add_module(f'conv{i}', ConvModule(out_channels[i - 1], out_channels[i], 1, **common))
            self.add_module(
                f'detect{i + 1}', detection_block(in_channels[i] + out_channels[i], out_channels[i], common)
            )

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> maps (B, out_channels_i, H_i, W_i), coarse to fine.

        ``join`` tells what sizes fit.
        """
        check_number(self, feats, self.num_scales)
        # the heads of YOLOv3 go from coarse to fine, as checkpoints number them
        outs = [self.detect1(feats[-1])]
        for i, feat in enumerate(reversed(feats[:-1]), 1):
            upsampled = F.interpolate(getattr(self, f'conv{i}')(outs[-1]), scale_factor=2)
            outs.append(getattr(self, f'detect{i + 1}')(join(self, upsampled, feat)))
        return tuple(outs)
