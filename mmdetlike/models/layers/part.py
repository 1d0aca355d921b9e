"""The parts of a model that a config may replace, though it seldom does."""

from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS


def build_part(cfg: dict | None, kind: type | str, defaults: dict | None = None, **fixed) -> nn.Module:
    """Build a part of a model from its config, whose ``type`` may be left out.

    Configs give an encoder, an attention or a positional encoding by its arguments alone. One that names a ``type``,
    anything registered in ``MODELS``, gets that in its place.

    Args:
        cfg: Arguments of the part, and perhaps its ``type``; None for no arguments.
        kind: The class, or its registered name, where ``cfg`` names no ``type``.
        defaults: Arguments that ``cfg`` may override.
        fixed: Arguments that the surrounding model decides; they win over those of ``cfg``.

    Raises:
        ConfigError: ``cfg`` is no dict, its type is unknown, or the class refuses an argument.
    """
    if cfg is not None and not isinstance(cfg, dict):
        raise ConfigError(f'the arguments of {getattr(kind, "__name__", kind)} must be a dict, got {cfg!r}')
    complete = {'type': kind, **(defaults or {}), **(cfg or {}), **fixed}
    try:
        return MODELS.build(complete)
    except ConfigError as error:
        # the dict as the user wrote it: the message says where in the config that one stands
        if error.cfg is complete:
            error.cfg = cfg
        error.enclosing = [cfg if outer is complete else outer for outer in error.enclosing if outer]
        raise
