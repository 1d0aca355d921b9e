"""Padding layers, by ``padding_mode``."""

from torch import nn

from .family import LayerFamily

PADDING_LAYERS = LayerFamily(
    'padding layer', {'zero': nn.ZeroPad2d, 'reflect': nn.ReflectionPad2d, 'replicate': nn.ReplicationPad2d}
)


def build_padding_layer(cfg: dict, *args, **kwargs) -> nn.Module:
    """Build a padding layer of type ``zero``, ``reflect`` or ``replicate``; ``args`` is the number of pixels.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    return PADDING_LAYERS.build(cfg, *args, **kwargs)
