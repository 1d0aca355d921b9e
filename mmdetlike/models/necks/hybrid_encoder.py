"""The hybrid encoders of RT-DETR, DETRs Beat YOLOs on Real-time Object Detection, arXiv 2304.08069, and of D-FINE."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, build_activation_layer
from mmdetlike.models.layers.transformer import TransformerEncoder, grid_encoding
from mmdetlike.registry import MODELS

from .channel_mapper import ChannelMapper
from .inputs import check_number

BATCH_NORM = dict(type='BN', requires_grad=True)
SILU = dict(type='SiLU', inplace=True)


class RepVGGBlock(BaseModule):
    """A 3x3 and a 1x1 convolution side by side (RepVGG, arXiv 2101.03697), without the identity beside them."""

    def __init__(self, channels: int, layer: dict) -> None:
        super().__init__()
        linear = dict(layer, act_cfg=None)
        self.conv1 = ConvModule(channels, channels, 3, padding=1, **linear)
        self.conv2 = ConvModule(channels, channels, 1, **linear)
        self.activate = build_activation_layer(layer['act_cfg'])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return self.activate(self.conv1(x) + self.conv2(x))


class CSPRepLayer(BaseModule):
    """The fusion block: RepVGG blocks on one of two projections, which are added; ``layer`` as of ``HybridEncoder``."""

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int, expansion: float, layer: dict) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvModule(in_channels, hidden, 1, **layer)
        self.conv2 = ConvModule(in_channels, hidden, 1, **layer)
        self.bottlenecks = nn.Sequential(*(RepVGGBlock(hidden, layer) for _ in range(num_blocks)))
        self.conv3 = ConvModule(hidden, out_channels, 1, **layer) if hidden != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


@MODELS.register_module()
class HybridEncoder(BaseModule):
    """Attention within the coarsest maps, then convolutions from coarse to fine and back.

    Args:
        in_channels: Channels of each backbone map, from fine to coarse.
        out_channels: Channels of every map put out.
        encode_levels: Maps within which pixels attend to each other.
        num_encoder_layers, num_heads, feedforward_channels: Transformer layers of each of these maps, their heads, and
            the hidden channels of their feed-forward networks.
        dropout: Probability of dropping an element in attention and feed-forward networks.
        encoder_act_cfg: Activation of the feed-forward networks.
        temperature: Ratio of the longest to the shortest wave length of the positional encoding.
        num_blocks, expansion: RepVGG blocks of each fusion block, and channels within it relative to ``out_channels``.
        norm_cfg, act_cfg: Norm layers and activations of convolutions, in ``layer`` for the hooks.

    Raises:
        ValueError: ``encode_levels`` names a map that there isn't.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        out_channels: int = 256,
        encode_levels: Sequence[int] = (2,),
        num_encoder_layers: int = 1,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.0,
        encoder_act_cfg: dict = {'type': 'GELU'},  # noqa: B006
        temperature: float = 10000,
        num_blocks: int = 3,
        expansion: float = 1.0,
        norm_cfg: dict = BATCH_NORM,
        act_cfg: dict = SILU,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        levels = len(in_channels)
        if not set(encode_levels) <= set(range(levels)):
            raise ValueError(f'encode_levels must be in 0 to {levels - 1}, got {tuple(encode_levels)}')
        self.encode_levels = tuple(encode_levels)
        self.temperature = temperature
        self.input_proj = ChannelMapper(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        encoder_layer = dict(
            self_attn_cfg=dict(embed_dims=out_channels, num_heads=num_heads, dropout=dropout),
            ffn_cfg=dict(feedforward_channels=feedforward_channels, ffn_drop=dropout, act_cfg=encoder_act_cfg),
        )
        self.encoders = nn.ModuleList(TransformerEncoder(num_encoder_layers, encoder_layer) for _ in encode_levels)
        self.layer = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        fusion = (out_channels, num_blocks, expansion)
        links = range(levels - 1)
        self.lateral_convs = nn.ModuleList(self.build_lateral(out_channels) for _ in links)
        self.fpn_blocks = nn.ModuleList(self.build_fusion(*fusion) for _ in links)
        self.downsample_convs = nn.ModuleList(self.build_downsample(out_channels) for _ in links)
        self.pan_blocks = nn.ModuleList(self.build_fusion(*fusion) for _ in links)

    def build_lateral(self, channels: int) -> nn.Module:
        """Hook: what a map goes through before it is enlarged, (B, channels, h, w) -> the same."""
        return ConvModule(channels, channels, 1, **self.layer)

    def build_fusion(self, channels: int, num_blocks: int, expansion: float) -> nn.Module:
        """Hook: what fuses two maps put one after the other, (B, 2 * channels, h, w) -> (B, channels, h, w)."""
        return CSPRepLayer(2 * channels, channels, num_blocks, expansion, self.layer)

    def build_downsample(self, channels: int) -> nn.Module:
        """Hook: what halves the sides of a map, (B, channels, h, w) -> (B, channels, h / 2, w / 2)."""
        return ConvModule(channels, channels, 3, stride=2, padding=1, **self.layer)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, h_i, w_i), fine to coarse -> as many maps (B, out_channels, h_i, w_i)."""
        check_number(self, inputs, len(self.input_proj.convs))
        maps = list(self.input_proj(inputs))
        for level, encoder in zip(self.encode_levels, self.encoders):
            x = maps[level]
            # all pixels attend to each other, padding included
            pixels = encoder(x.flatten(2).transpose(1, 2), grid_encoding(x, self.temperature))
            maps[level] = pixels.transpose(1, 2).reshape(x.shape)
        return self.bottom_up(self.top_down(maps))

    def top_down(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Fuse coarser maps into finer ones; fine to coarse, as ``maps``."""
        fused = [maps[-1]]
        for lateral, block, fine in zip(self.lateral_convs, self.fpn_blocks, maps[-2::-1]):
            fused[0] = lateral(fused[0])
            # to the size, not by the factor: odd sides were rounded up
            larger = F.interpolate(fused[0], size=fine.shape[-2:])
            fused.insert(0, block(torch.cat([larger, fine], dim=1)))
        return fused

    def bottom_up(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse finer maps into coarser ones."""
        fused = [maps[0]]
        for downsample, block, coarse in zip(self.downsample_convs, self.pan_blocks, maps[1:]):
            fused.append(block(torch.cat([downsample(fused[-1]), coarse], dim=1)))
        return tuple(fused)


class RepNCSPELAN(BaseModule):
    """The fusion block of YOLOv9's GELAN, arXiv 2402.13616.

    It joins two halves of the input and what two stages of RepVGG blocks make of the second one. Each stage has
    ``num_blocks`` of them and puts out ``hidden_channels``. ``in_channels`` is an even number.
    """

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int, num_blocks: int, layer: dict) -> None:
        super().__init__()
        self.conv_in = ConvModule(in_channels, in_channels, 1, **layer)
        inputs = (in_channels // 2, hidden_channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                CSPRepLayer(width, hidden_channels, num_blocks, 1.0, layer),
                ConvModule(hidden_channels, hidden_channels, 3, padding=1, **layer),
            )
            for width in inputs
        )
        self.conv_out = ConvModule(in_channels + 2 * hidden_channels, out_channels, 1, **layer)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        maps = list(self.conv_in(x).chunk(2, dim=1))
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return self.conv_out(torch.cat(maps, dim=1))


@MODELS.register_module()
class DFINEHybridEncoder(HybridEncoder):
    """The encoder of RT-DETR with lighter and deeper convolutions (D-FINE, arXiv 2410.13842).

    ``num_blocks`` is the number of RepVGG blocks of each of the two stages of a fusion block, and ``expansion`` the
    channels of a stage relative to half of ``out_channels``.
    """

    def build_lateral(self, channels: int) -> nn.Module:
        return ConvModule(channels, channels, 1, norm_cfg=self.layer['norm_cfg'], act_cfg=None)

    def build_fusion(self, channels: int, num_blocks: int, expansion: float) -> nn.Module:
        # half of the channels are rounded down, as published weights have it
        hidden = int(channels * expansion // 2)
        return RepNCSPELAN(2 * channels, channels, hidden, num_blocks, self.layer)

    def build_downsample(self, channels: int) -> nn.Module:
        """A 1x1 convolution that mixes channels, and a strided one of each channel by itself, neither activated."""
        linear = dict(self.layer, act_cfg=None)
        return nn.Sequential(
            ConvModule(channels, channels, 1, **linear),
            ConvModule(channels, channels, 3, stride=2, padding=1, groups=channels, **linear),
        )
