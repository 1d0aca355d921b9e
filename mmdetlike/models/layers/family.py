"""Families of layers: ``dict(type='GN', num_groups=32)`` -> a layer class and its arguments."""

import difflib
import inspect
from typing import Any

from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS


class LayerFamily:
    """A table of layer classes that a config chooses from by ``type``.

    Every name of the table is registered in ``MODELS`` as well; a name that the table lacks is looked up there (in the
    registry of the current default scope), so a user's own registered layer works wherever a family is asked.

    Args:
        name: What a member is called in messages, e.g. ``'norm layer'``.
        table: Class of each ``type``.
    """

    def __init__(self, name: str, table: dict[str, type[nn.Module]]) -> None:
        self.name = name
        self.table = table
        for key, cls in table.items():
            # some names, e.g. 'Dropout', may stand in mmengine's registry or in several families
            if key not in MODELS.module_dict:
                MODELS.register_module(name=key, module=cls)

    def resolve(self, cfg: dict) -> tuple[type[nn.Module], dict[str, Any]]:
        """Return the class that ``cfg['type']`` names and the rest of ``cfg``; ``ConfigError`` if it names none."""
        if not isinstance(cfg, dict) or 'type' not in cfg:
            article = 'an' if self.name[0] in 'aeiou' else 'a'
            raise ConfigError(
                f"The config of {article} {self.name} must be a dict with the key 'type', but got {cfg!r}."
            )
        arguments = {key: value for key, value in cfg.items() if key != 'type'}
        if inspect.isclass(cfg['type']):
            return cfg['type'], arguments
        return self._find(cfg['type'], cfg), arguments

    def _find(self, key: str, cfg: dict) -> type[nn.Module]:
        name = MODELS.split_scope_key(key)[1] if isinstance(key, str) else key
        # the table comes first: what a name means in a family doesn't depend on what others have registered as it
        if name in self.table:
            return self.table[name]
        # the registry of the default scope: that of a user's package that extends this one
        try:
            with MODELS.switch_scope_and_registry(None) as registry:
                found = registry.get(key)
        except (ConfigError, TypeError):
            found = None
        if found is None:
            raise ConfigError(self._unknown(key, name), cfg)
        return found

    def _unknown(self, key: str, name: str) -> str:
        names = sorted({*self.table, *MODELS.module_dict})
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
        hint = f'Did you mean {" or ".join(map(repr, close))}? ' if close else ''
        # plugins have no table: any registered module may be one
        known = f'Known: {", ".join(sorted(self.table))}.' if self.table else ''
        return f'type={key!r} is not a known {self.name}. {hint}{known}'.rstrip()

    def construct(self, cls: type[nn.Module], cfg: dict | None, *args, **kwargs) -> nn.Module:
        """Return ``cls(*args, **kwargs)``, as ``cfg`` asked for it; ``ConfigError`` if it does not take an argument."""
        accepted = inspect.signature(cls).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
        wrong = [key for key in kwargs if key not in accepted]
        if wrong and not open_ended:
            close = difflib.get_close_matches(wrong[0], accepted, n=1)
            hint = f'; did you mean {close[0]!r}?' if close else '.'
            kind = cfg['type'] if cfg and isinstance(cfg['type'], str) else cls.__name__
            raise ConfigError(
                f'{self.name} {kind!r} takes no argument {wrong[0]!r}{hint} Arguments: {", ".join(accepted)}.', cfg
            )
        return cls(*args, **kwargs)

    def build(self, cfg: dict, *args, **kwargs) -> nn.Module:
        """Build the layer of ``cfg``; positional and keyword arguments come before those of ``cfg``."""
        cls, arguments = self.resolve(cfg)
        return self.construct(cls, cfg, *args, **{**kwargs, **arguments})
