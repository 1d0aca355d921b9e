"""The hybrid encoder of D-FINE, arXiv 2410.13842, whose blocks are those of YOLOv9's GELAN, arXiv 2402.13616."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .hybrid_encoder import CSPRepLayer, HybridEncoder


class RepNCSPELAN(BaseModule):
    """The fusion block: two halves of the input, and what two stages of RepVGG blocks make of the second one.

    Each stage has ``num_blocks`` of them and puts out ``hidden_channels``. ``in_channels`` is an even number.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_blocks: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        half = in_channels // 2
        common = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv_in = ConvModule(in_channels, in_channels, 1, **common)
        inputs = (half, hidden_channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                CSPRepLayer(width, hidden_channels, num_blocks, 1.0, norm_cfg, act_cfg),
                ConvModule(hidden_channels, hidden_channels, 3, padding=1, **common),
            )
            for width in inputs
        )
        self.conv_out = ConvModule(in_channels + 2 * hidden_channels, out_channels, 1, **common)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        maps = list(self.conv_in(x).chunk(2, dim=1))
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return self.conv_out(torch.cat(maps, dim=1))


@MODELS.register_module()
class DFINEHybridEncoder(HybridEncoder):
    """The encoder of RT-DETR with lighter and deeper convolutions; arguments of ``HybridEncoder``.

    ``num_blocks`` is the number of RepVGG blocks of each of the two stages of a fusion block, and ``expansion`` the
    channels of a stage relative to half of ``out_channels``.
    """

    def build_lateral(self, channels: int, norm_cfg: dict, act_cfg: dict) -> nn.Module:
        return ConvModule(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def build_fusion(
        self, channels: int, num_blocks: int, expansion: float, norm_cfg: dict, act_cfg: dict
    ) -> nn.Module:
        # half of the channels are rounded down, as published weights have it
        hidden = int(channels * expansion // 2)
        return RepNCSPELAN(2 * channels, channels, hidden, num_blocks, norm_cfg, act_cfg)

    def build_downsample(self, channels: int, norm_cfg: dict, act_cfg: dict) -> nn.Module:
        """A 1x1 convolution that mixes channels, and a strided one of each channel by itself, neither activated."""
        return nn.Sequential(
            ConvModule(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None),
            ConvModule(channels, channels, 3, stride=2, padding=1, groups=channels, norm_cfg=norm_cfg, act_cfg=None),
        )
