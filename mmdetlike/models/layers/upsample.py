"""Upsampling layers."""

from itertools import pairwise

import torch.nn.functional as F
from mmengine.model import BaseModule, xavier_init
from torch import Tensor, nn

from mmdetlike_ops import CARAFEPack

from .conv_module import ConvModule
from .family import LayerFamily


class PixelShufflePack(nn.Module):
    """A convolution followed by pixel shuffle (Real-Time Super-Resolution, arXiv 1609.05158).

    Args:
        in_channels, out_channels: Channels of the input and of the output.
        scale_factor: Ratio of output size to input size.
        upsample_kernel: Kernel size of the convolution, odd to keep the size.
    """

    def __init__(self, in_channels: int, out_channels: int, scale_factor: int, upsample_kernel: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        padding = (upsample_kernel - 1) // 2
        self.upsample_conv = nn.Conv2d(in_channels, out_channels * scale_factor**2, upsample_kernel, padding=padding)
        self.init_weights()

    def init_weights(self) -> None:
        xavier_init(self.upsample_conv, distribution='uniform')

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H * scale_factor, W * scale_factor)."""
        return F.pixel_shuffle(self.upsample_conv(x), self.scale_factor)


class ConvUpsample(BaseModule):
    """3x3 ``ConvModule`` layers, each followed by bilinear upsampling by 2 (Panoptic FPN, arXiv 1901.02446).

    With ``num_upsample``, at most ``num_layers``, the first ones alone are.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        num_layers: int = 1,
        num_upsample: int | None = None,
        init_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = {'type': 'ReLU'},  # noqa: B006
    ) -> None:
        super().__init__(init_cfg)
        self.num_layers = num_layers
        self.num_upsample = num_layers if num_upsample is None else num_upsample
        if self.num_upsample > num_layers:
            raise ValueError(f'num_upsample={self.num_upsample} must not be more than num_layers={num_layers}.')
        widths = [in_channels] + [inner_channels] * num_layers
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv = nn.ModuleList(ConvModule(a, b, 3, padding=1, **layer) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, inner_channels, H * 2 ** num_upsample, W * 2 ** num_upsample)."""
        for i, conv in enumerate(self.conv):
            x = conv(x)
            if i < self.num_upsample:
                x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
        return x


UPSAMPLE_LAYERS = LayerFamily(
    'upsample layer',
    {
        'nearest': nn.Upsample,
        'bilinear': nn.Upsample,
        'bicubic': nn.Upsample,
        'deconv': nn.ConvTranspose2d,
        'pixel_shuffle': PixelShufflePack,
        'carafe': CARAFEPack,
    },
)


def build_upsample_layer(cfg: dict, *args, **kwargs) -> nn.Module:
    """Build an upsampling layer.

    Args:
        cfg: ``type`` is ``nearest``, ``bilinear`` or ``bicubic`` (with ``scale_factor`` or ``size``, and
            ``align_corners``), ``deconv`` (arguments of ``nn.ConvTranspose2d``), ``pixel_shuffle``
            (those of ``PixelShufflePack``), or ``carafe`` (those of ``CARAFEPack``).
        *args, **kwargs: Further arguments of the layer; those in ``cfg`` win.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    cls, _ = UPSAMPLE_LAYERS.resolve(cfg)
    # three types are one class, told apart by ``mode``; a scope such as 'mmdet.nearest' is no part of it
    if cls is nn.Upsample:
        kwargs = {'mode': cfg['type'].rpartition('.')[2] if isinstance(cfg['type'], str) else 'nearest', **kwargs}
    return UPSAMPLE_LAYERS.build(cfg, *args, **kwargs)
