"""Residual blocks in place of plain convolutions: SCNet, arXiv 2012.10150."""

from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.res_layer import SimplifiedBasicBlock


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
    layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    return nn.ModuleList(SimplifiedBasicBlock(in_channels, in_channels, **layers) for _ in range(num_convs // 2))
