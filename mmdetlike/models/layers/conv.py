"""Convolutions that a ``conv_cfg`` chooses from."""

from torch import nn

from .family import LayerFamily

CONV_LAYERS = LayerFamily(
    'conv layer',
    {
        'Conv1d': nn.Conv1d,
        'Conv2d': nn.Conv2d,
        'Conv3d': nn.Conv3d,
        'Conv': nn.Conv2d,
        'deconv': nn.ConvTranspose2d,
        'deconv3d': nn.ConvTranspose3d,
    },
)


def build_conv_layer(cfg: dict | None, *args, **kwargs) -> nn.Module:
    """Build a convolution.

    Args:
        cfg: ``dict(type=..., ...)``; None stands for ``dict(type='Conv2d')``. Types outside this family, such as
            ``DCN`` and ``DCNv2``, are taken from ``MODELS``.
        *args: Positional arguments of the layer (``in_channels, out_channels, kernel_size, ...``).
        **kwargs: Keyword arguments of the layer; those in ``cfg`` win.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    return CONV_LAYERS.build(cfg if cfg is not None else {'type': 'Conv2d'}, *args, **kwargs)
