"""Detectron2's config files: YAML with bases, whose rest are Detectron2's defaults."""

import ast
import copy
from collections.abc import Mapping
from pathlib import Path

import yaml

from mmdetlike.errors import ConfigError

from .defaults import DEFAULTS
from .lists import evaluate
from .project_defaults import project_defaults

BASE = '_BASE_'
# kinds of settings, in the order in which they are asked: a bool is a number, too
KINDS = {
    bool: 'True or False',
    (int, float): 'a number',
    str: 'text',
    list: 'a list',
    dict: 'settings below it',
}


class _Loader(yaml.SafeLoader):
    """Plain YAML, and the lists of anchor sizes that Detectron2's RetinaNet computes."""


def _computed(loader: _Loader, node: yaml.Node) -> list:
    """The one tag beyond plain data that Detectron2's own files have: an expression, of which only lists are known."""
    return evaluate(loader.construct_sequence(node)[0])


_Loader.add_constructor('tag:yaml.org,2002:python/object/apply:eval', _computed)


def is_detectron2_config(path: str | Path) -> bool:
    """Whether a file is a YAML file with the keys of Detectron2, or one that names a base as its files do."""
    path = Path(path)
    if path.suffix not in ('.yaml', '.yml') or not path.is_file():
        return False
    top_level = [line.split(':')[0] for line in path.read_text(errors='replace').splitlines()]
    return BASE in top_level or 'MODEL' in top_level


def read_config(path: str | Path) -> dict:
    """A Detectron2 config file with its bases and all defaults, those of DeepLab's projects where it uses their parts.

    Raises:
        ConfigError: A file is missing or no YAML, or has a key that Detectron2 doesn't have.
    """
    values = _with_bases(Path(path), ())
    cfg = copy.deepcopy(DEFAULTS)
    for settings in project_defaults(values):
        _update(cfg, copy.deepcopy(settings))
    _merge(cfg, values, '', path)
    return cfg


def _with_bases(path: Path, above: tuple[Path, ...]) -> dict:
    path = path.expanduser().resolve()
    if path in above:
        raise ConfigError(f'{path} is its own {BASE}')
    if not path.is_file():
        named_by = f', the {BASE} of {above[-1]}' if above else ''
        raise ConfigError(f'the Detectron2 config {path}{named_by} does not exist')
    try:
        values = yaml.load(path.read_text(encoding='utf-8'), Loader=_Loader) or {}
    except (yaml.YAMLError, ValueError, SyntaxError) as error:
        reason = ' '.join(str(error).split())
        raise ConfigError(f'{path} is no Detectron2 config that can be read: {reason}') from error
    if not isinstance(values, dict):
        raise ConfigError(f'{path} holds a {type(values).__name__}, expected keys such as MODEL')
    base = values.pop(BASE, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f'{path}: {BASE} is {base!r}, expected the path of one file')
    merged = _with_bases(path.parent / Path(base).expanduser(), (*above, path))
    _update(merged, values)
    return merged


def _update(into: dict, values: dict) -> None:
    """Put values into nested dicts."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _update(into[key], value)
        else:
            into[key] = value


def _merge(into: dict, values: Mapping, prefix: str, path: str | Path) -> None:
    """Put the values of a file in the place of defaults, keys of which there must be."""
    for key, value in values.items():
        if key not in into and prefix == '':
            # a project's own settings beside those of the model, or a typo: told as without effect by who trains
            into[key] = value
            continue
        if key not in into:
            raise ConfigError(f'{path}: {prefix}{key} is no setting of Detectron2, or has no counterpart here')
        value = value if isinstance(value, dict) else _literal(value)
        _check_kind(value, into[key], f'{path}: {prefix}{key}')
        if isinstance(value, dict):
            _merge(into[key], value, f'{prefix}{key}.', path)
        else:
            into[key] = value


def _check_kind(value, default, place: str) -> None:
    """Whether a value is of the kind of the default that it replaces, where that has one."""
    kind = next((kind for kind in KINDS if isinstance(default, kind)), object)
    wrong = isinstance(value, bool) and kind is not bool and kind is not object
    if wrong or not isinstance(value, kind):
        example = '' if kind is dict else f', as {default!r}'
        raise ConfigError(f'{place} is {value!r}, expected {KINDS[kind]}{example}')


def _literal(value):
    """Tuples and numbers that YAML takes for text, as 1e-4 is, by their value; tuples as lists."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return [_literal(part) for part in value] if isinstance(value, (list, tuple)) else value
