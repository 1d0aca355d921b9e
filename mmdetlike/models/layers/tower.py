"""Towers: the stacked convolutions of a dense head before its predicting layers; and the factors after these."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .conv_module import ConvModule


def build_tower(
    in_channels: int,
    feat_channels: int,
    stacked_convs: int,
    conv_cfg: dict | None = None,
    norm_cfg: dict | None = None,
    bias: bool | str = 'auto',
    last_conv_cfg: dict | None = None,
    block: type[nn.Module] = ConvModule,
    **options,
) -> nn.ModuleList:
    """``stacked_convs`` 3x3 ConvModules, the last one with a convolution of its own if ``last_conv_cfg`` says so.

    They may be of another class ``block`` that takes the same arguments; ``options`` are further arguments of it.
    """
    layers = nn.ModuleList()
    for i in range(stacked_convs):
        own = last_conv_cfg if last_conv_cfg is not None and i == stacked_convs - 1 else conv_cfg
        width = in_channels if i == 0 else feat_channels
        common = dict(conv_cfg=own, norm_cfg=norm_cfg, bias=bias)
        layers.append(block(width, feat_channels, 3, padding=1, **common, **options))
    return layers


def build_two_towers(
    in_channels: int,
    feat_channels: int,
    stacked_convs: int,
    conv_cfg: dict | None = None,
    norm_cfg: dict | None = None,
    first_conv_cfg: dict | None = None,
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Towers for classes and for boxes, the first layer with a convolution of its own if ``first_conv_cfg`` says so.

    They are made layer by layer: a seed then draws the weights that it drew in the original.
    """
    towers = nn.ModuleList(), nn.ModuleList()
    for i in range(stacked_convs):
        own = first_conv_cfg if first_conv_cfg is not None and i == 0 else conv_cfg
        for tower in towers:
            tower += build_tower(in_channels if i == 0 else feat_channels, feat_channels, 1, own, norm_cfg)
    return towers


def run_tower(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """The features (B, C, H, W) after all layers."""
    for layer in layers:
        x = layer(x)
    return x


def share_convolutions(towers: Sequence[nn.ModuleList]) -> nn.ModuleList:
    """Let the towers of several levels have the convolutions of the first one, and norm layers of their own."""
    layers = [[m for m in tower.modules() if isinstance(m, ConvModule)] for tower in towers]
    for others in layers[1:]:
        for layer, of_first in zip(others, layers[0]):
            # levels have other statistics, so norm layers stay their own (RetinaSepBN, RTMDet)
            layer.conv = of_first.conv
    return nn.ModuleList(towers)


@MODELS.register_module()
class Scale(nn.Module):
    """Multiply by a learnable scalar.

    Args:
        scale: Initial value.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x * scale``, of the shape of ``x``."""
        return x * self.scale
