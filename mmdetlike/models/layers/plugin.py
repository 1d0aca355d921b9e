"""Plugins: modules that a config inserts into the blocks of a backbone."""

import inspect
import re

from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike_ops import NonLocal1d, NonLocal2d, NonLocal3d

from .conv import with_conv_class
from .family import LayerFamily
from .norm import with_norm_class

PLUGIN_LAYERS = LayerFamily('plugin layer', {})


def plugin_abbreviation(cls: type[nn.Module]) -> str:
    """Return the name of a plugin of class ``cls`` in its parent: ``cls._abbr_``, else the class name in snake case."""
    # parameter names of checkpoints hang on it
    if hasattr(cls, '_abbr_'):
        return cls._abbr_
    spaced = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', cls.__name__)
    return re.sub(r'([a-z\d])([A-Z])', r'\1_\2', spaced).lower()


def build_plugin_layer(cfg: dict, postfix: int | str = '', **kwargs) -> tuple[str, nn.Module]:
    """Build ``(name, layer)``: a plugin and the name under which its parent keeps it.

    Args:
        cfg: ``dict(type=..., ...)``; any module registered in ``MODELS``.
        postfix: Appended to the name.
        **kwargs: Arguments of the plugin, such as ``in_channels``; those in ``cfg`` win.

    Raises:
        ConfigError: The type or an argument is unknown, or the plugin refuses a value.
    """
    cls, arguments = PLUGIN_LAYERS.resolve(cfg)
    arguments = {**kwargs, **arguments}
    if inspect.isclass(cls) and issubclass(cls, (NonLocal1d, NonLocal2d, NonLocal3d)):
        # classes, registered ones too, in place of names: mmdetlike_ops knows torch's alone
        for key, with_class in dict(conv_cfg=with_conv_class, norm_cfg=with_norm_class).items():
            if arguments.get(key) is not None:
                arguments[key] = with_class(arguments[key])
    try:
        layer = PLUGIN_LAYERS.construct(cls, cfg, **arguments)
    except ValueError as error:
        raise ConfigError(str(error), cfg) from error
    return f'{plugin_abbreviation(cls)}{postfix}', layer
