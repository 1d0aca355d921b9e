"""Residual blocks in place of plain convolutions: SCNet, arXiv 2012.10150."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_conv_layer, build_norm_layer


class SimplifiedBasicBlock(BaseModule):
    """Two 3x3 convolutions and a shortcut, with norm layers if wanted and without an activation after the sum.

    Args:
        channels: Channels of input and output.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
    """

    def __init__(self, channels: int, conv_cfg: dict | None = None, norm_cfg: dict | None = None) -> None:
        super().__init__()
        for i in (1, 2):
            convolution = build_conv_layer(conv_cfg, channels, channels, 3, padding=1, bias=norm_cfg is None)
            self.add_module(f'conv{i}', convolution)
        self.norm_names = []
        if norm_cfg is not None:
            for i in (1, 2):
                name, norm = build_norm_layer(norm_cfg, channels, postfix=i)
                self.add_module(name, norm)
                self.norm_names.append(name)

    @property
    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """What runs one after the other, which isn't the order of the registration that a checkpoint has."""
        return list(zip(('conv1', 'conv2'), self.norm_names))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, channels, h, w)."""
        out = F.relu(self._layer(0, x))
        return self._layer(1, out) + x

    def _layer(self, i: int, x: Tensor) -> Tensor:
        x = getattr(self, f'conv{i + 1}')(x)
        return getattr(self, self.norm_names[i])(x) if self.norm_names else x


def residual_convs(
    num_convs: int, in_channels: int, out_channels: int, conv_cfg: dict | None = None, norm_cfg: dict | None = None
) -> nn.ModuleList:
    """``num_convs`` 3x3 convolutions as residual blocks of two.

    Raises:
        ConfigError: Their number is odd, or input and output differ in channels.
    """
    if num_convs % 2 or in_channels != out_channels:
        raise ConfigError(
            f'conv_to_res=True needs an even num_convs and conv_out_channels=in_channels, got num_convs={num_convs}, '
            f'in_channels={in_channels}, conv_out_channels={out_channels}'
        )
    return nn.ModuleList(SimplifiedBasicBlock(in_channels, conv_cfg, norm_cfg) for _ in range(num_convs // 2))
