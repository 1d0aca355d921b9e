"""Configs that can be read again after they are written."""

import contextlib
import copy
import functools
import inspect
import keyword
import math
import os
from collections.abc import Mapping

import numpy as np
from mmengine.config import Config as MMEngineConfig
from mmengine.config import ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from yapf.yapflib.yapf_api import FormatCode

from mmdetlike.errors import ConfigError
from mmdetlike.registry import registered_name
from mmdetlike.utils.plain import BUILTINS, plain_scalar

STYLE = dict(based_on_style='pep8', split_before_expression_after_opening_paren=True)


class Config(MMEngineConfig):
    """mmengine's config with values made plain where possible, and a text that evaluates to the same values.

    mmengine writes ``inf``, ``nan``, numpy's values and keys such as ``lambda`` in a way that Python doesn't read.
    """

    @classmethod
    def of(cls, config: MMEngineConfig | dict) -> 'Config':
        """A copy of a config, of builtin values, with names for classes and ``~`` in paths expanded."""
        config = copy.deepcopy(config) if isinstance(config, MMEngineConfig) else MMEngineConfig(dict(config))
        own = cls.__new__(cls)
        values, *rest = config.__getstate__()
        for name in [name for name, value in dict.items(values) if inspect.isclass(value)]:
            del values[name]  # imported by the file, which has used it
        own.__setstate__((_plain_values(values), *rest))
        return own

    @property
    def pretty_text(self) -> str:
        """The config as Python code.

        Raises:
            ConfigError: A value has no text; the message names its key.
        """
        return config_text(self.to_dict())


def _plain_values(value, key=None):
    if isinstance(value, dict):
        # not value.items(), which would import the classes that a config in pure Python names
        return ConfigDict({plain_scalar(name): _plain_values(part, name) for name, part in dict.items(value)})
    if type(value) in (list, tuple, set):
        return type(value)(_plain_values(part) for part in value)
    if isinstance(value, (LazyAttr, LazyObject)):
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if key == 'type' and callable(value):
        return registered_name(value) or value
    value = plain_scalar(value)
    # no other setting begins so; the shell expands it only where it begins an argument
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith('~/') else value


def config_text(values: Mapping) -> str:
    """Python code that assigns each of ``values`` to its key.

    Raises:
        ConfigError: A value or a key has no text.
    """
    lines = []
    for key, value in sorted(values.items(), key=lambda item: str(item[0])):
        if not _is_name(key):
            raise ConfigError(f'the top-level key {key!r} cannot be written: it is not a name in Python')
        lines.append(_laid_out(f'{key} = {_literal(value, key)}\n'))
    return ''.join(lines)


@functools.lru_cache(maxsize=1024)
def _laid_out(text: str) -> str:
    """An assignment in lines that can be read; a run asks for its config five times, at 0.1 s, and changes little."""
    with contextlib.suppress(Exception):  # how it is laid out matters less than that it is there
        text, _ = FormatCode(text, style_config=STYLE)
    return text


def _literal(value, path: str) -> str:
    if isinstance(value, Mapping):
        return _mapping(value, path)
    if isinstance(value, (list, tuple, set)):
        # the comma behind the last one makes yapf write one item a line
        parts = ''.join(f'{_literal(part, f"{path}[{i}]")},\n' for i, part in enumerate(value))
        if isinstance(value, set):
            return f'{{{parts}}}' if value else 'set()'
        return f'[{parts}]' if isinstance(value, list) else f'({parts})'
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{float(value)}')"
    if value is None or value is ... or type(value) in BUILTINS:
        return repr(value)
    raise ConfigError(
        f'{path} is {value!r:.80}, a {type(value).__name__}, which has no text: the copy of the config that a run '
        "keeps could not be read again. Write plain values, and functions and classes as dict(type='module.name')."
    )


def _mapping(value: Mapping, path: str) -> str:
    items = sorted(value.items(), key=lambda item: str(item[0]))
    texts = [(key, _literal(part, f'{path}.{key}')) for key, part in items]
    if all(_is_name(key) for key in value):
        return f'dict({", ".join(f"{key}={text}" for key, text in texts)})'
    return f'{{{", ".join(f"{_literal(key, path)}: {text}" for key, text in texts)}}}'


def _is_name(key) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)
