"""Convolutions that a ``conv_cfg`` chooses from."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike_ops import ConvAWS2d, DeformConv2dPack, ModulatedDeformConv2dPack, SAConv2d

from .family import LayerFamily


class Conv2dAdaptivePadding(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": each axis of ``ceil(size / stride)`` outputs, however large it is.

    Where the padding of an axis is odd, the larger part comes after the image.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution, like ``stride``, ``dilation``, ``groups`` and ``bias``.
        padding: Has no effect; it follows from the size of the input.
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
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        missing = [
            max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            for size, kernel, stride, dilation in zip(x.shape[2:], self.kernel_size, self.stride, self.dilation)
        ]
        before = [total // 2 for total in missing]
        if any(total % 2 for total in missing):
            x = F.pad(x, (0, missing[1] % 2, 0, missing[0] % 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, before, self.dilation, self.groups)


class ConvWS2d(nn.Conv2d):
    """A convolution whose weights are standardised for each output channel (Weight Standardization, arXiv 1903.10520).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution, like ``stride``, ``padding``, ``dilation``, ``groups`` and ``bias``.
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
        std, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (std + self.eps), self.bias)


CONV_LAYERS = LayerFamily(
    'conv layer',
    {
        'Conv1d': nn.Conv1d,
        'Conv2d': nn.Conv2d,
        'Conv3d': nn.Conv3d,
        'Conv': nn.Conv2d,
        'Conv2dAdaptivePadding': Conv2dAdaptivePadding,
        'ConvWS': ConvWS2d,
        'deconv': nn.ConvTranspose2d,
        'deconv3d': nn.ConvTranspose3d,
        'ConvAWS': ConvAWS2d,
        'DCN': DeformConv2dPack,
        'DCNv2': ModulatedDeformConv2dPack,
        'SAC': SAConv2d,
    },
)


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
    if isinstance(cfg, dict) and 'deformable_groups' in cfg:  # as older configs, which still load, name it
        cfg = {'deform_groups' if key == 'deformable_groups' else key: value for key, value in cfg.items()}
    return CONV_LAYERS.build(cfg if cfg is not None else {'type': 'Conv2d'}, *args, **kwargs)
