"""Convolutions that a ``conv_cfg`` chooses from, and the padding layers before them."""

import torch
from torch import Tensor, nn

from mmdetlike_ops import Conv2dAdaptivePadding, ConvAWS2d, DeformConv2dPack, ModulatedDeformConv2dPack, SAConv2d
from mmdetlike_ops.layer_configs import CONV_LAYERS as OPS_CONV_LAYERS

from .family import LayerFamily


class ConvWS2d(nn.Conv2d):
    """A convolution whose weights are standardized for each output channel (Weight Standardization, arXiv 1903.10520).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: As of ``nn.Conv2d``.
        eps: Added to the standard deviation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        # with n - 1 in the variance and eps beside the deviation, unlike torch's norm layers: as weights were trained
        std, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (std + self.eps), self.bias)


PADDING_LAYERS = LayerFamily(
    'padding layer', {'zero': nn.ZeroPad2d, 'reflect': nn.ReflectionPad2d, 'replicate': nn.ReplicationPad2d}
)
CONV_LAYERS = LayerFamily(
    'conv layer',
    {
        **OPS_CONV_LAYERS,
        'Conv2dAdaptivePadding': Conv2dAdaptivePadding,
        'Conv2dSamePadding': Conv2dAdaptivePadding,  # as configs of EfficientDet call it
        'ConvWS': ConvWS2d,
        'deconv': nn.ConvTranspose2d,
        'deconv3d': nn.ConvTranspose3d,
        'ConvAWS': ConvAWS2d,
        'DCN': DeformConv2dPack,
        'DCNv2': ModulatedDeformConv2dPack,
        'SAC': SAConv2d,
    },
)


def build_padding_layer(cfg: dict, *args, **kwargs) -> nn.Module:
    """Build the padding layer ``zero``, ``reflect`` or ``replicate``, else ``ConfigError``, of ``args`` pixels."""
    return PADDING_LAYERS.build(cfg, *args, **kwargs)


def build_conv_layer(cfg: dict | None, *args, **kwargs) -> nn.Module:
    """Build a convolution.

    Args:
        cfg: ``dict(type=..., ...)``; None stands for ``dict(type='Conv2d')``. ``DCN``, ``DCNv2`` and ``SAC`` are
            deformable; types outside this family are taken from ``MODELS``.
        *args: Positional arguments of the layer (``in_channels, out_channels, kernel_size, ...``).
        **kwargs: Keyword arguments of the layer; those in ``cfg`` win.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    arguments = with_conv_class(cfg)
    cls = arguments.pop('type')
    return CONV_LAYERS.construct(cls, cfg, *args, **{**kwargs, **arguments})


def with_conv_class(cfg: dict | None) -> dict:
    """Return ``cfg`` with the class that its ``type`` names (else ``ConfigError``), as ``mmdetlike_ops`` takes it."""
    cls, arguments = CONV_LAYERS.resolve(cfg if cfg is not None else {'type': 'Conv2d'})
    if 'deformable_groups' in arguments:  # as older configs, which still load, name it
        arguments['deform_groups'] = arguments.pop('deformable_groups')
    return {'type': cls, **arguments}
