"""Plugins: modules that a config inserts into the blocks of a backbone."""

import re

from torch import nn

from .family import LayerFamily

PLUGIN_LAYERS = LayerFamily('plugin layer', {})


def plugin_abbreviation(cls: type[nn.Module]) -> str:
    """Return the name of a plugin of class ``cls`` in its parent: ``cls._abbr_``, else the class name in snake case."""
    if hasattr(cls, '_abbr_'):
        return cls._abbr_
    spaced = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', cls.__name__)
    return re.sub(r'([a-z\d])([A-Z])', r'\1_\2', spaced).lower()


def build_plugin_layer(cfg: dict, postfix: int | str = '', **kwargs) -> tuple[str, nn.Module]:
    """Build a plugin and the name under which its parent keeps it.

    Args:
        cfg: ``dict(type=..., ...)``; any module registered in ``MODELS``.
        postfix: Appended to the name.
        **kwargs: Arguments of the plugin, such as ``in_channels``; those in ``cfg`` win.

    Returns:
        ``(name, layer)``.

    Raises:
        ConfigError: The type or an argument is unknown.
    """
    cls, _ = PLUGIN_LAYERS.resolve(cfg)
    return f'{plugin_abbreviation(cls)}{postfix}', PLUGIN_LAYERS.build(cfg, **kwargs)
