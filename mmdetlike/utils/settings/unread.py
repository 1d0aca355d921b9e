"""Settings of a config file that nobody reads: misspelled names, and variables that are changed without effect.

Text configs copy values: a variable such as ``train_pipeline`` matters only while the file that uses it is evaluated.
Whether a name is used is therefore looked up in the source of the file and of its bases. Warnings must be right, so a
name is passed over whenever a use is possible.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config as MMEngineConfig

from mmdetlike.errors import ConfigError
from mmdetlike.utils.config import dicts_within
from mmdetlike.utils.config_reading import BASE, base_files

from .names import OLD_NAMES, SETTINGS, closest, unknown_nested

# old names without which it would be another training: a warning would not be heard
REFUSED = ('data', 'runner', 'optimizer', 'optimizer_config', 'lr_config', 'momentum_config', 'total_epochs')
CONSTRUCTORS = ('dict', 'list', 'tuple', 'set', 'float', 'int', 'str', 'bool')


@dataclass
class Source:
    """The names in a config file: those it assigns, those it uses, and the key paths of settings it puts them into."""

    path: Path
    assigned: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    used_of_bases: set[str] = field(default_factory=set)
    key_paths: dict[str, str] = field(default_factory=dict)


def read_sources(path: Path) -> list[Source] | None:
    """The config file and its bases, these first; None where they can't be told apart by their text.

    That is so for configs in pure Python, which share their variables with their bases, and for JSON and YAML.
    """
    if path.suffix != '.py' or not path.is_file():
        return None
    text = path.read_text(encoding='utf-8')
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    if any(isinstance(node, ast.With) for node in tree.body) or '{{$' in text:
        return None
    bases = base_files(path)
    below = [read_sources(base) for base in bases or []]
    if bases is None or None in below:
        return None
    return [*itertools.chain(*below), _source(path, tree, text)]


def _source(path: Path, tree: ast.Module, text: str) -> Source:
    source = Source(path, used_of_bases=set(re.findall(r'\b_base_\.(\w+)', text)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in CONSTRUCTORS:
            source.used.add(node.id)
        if isinstance(node, ast.Subscript) and getattr(node.value, 'id', None) == BASE:
            source.used_of_bases.add(str(getattr(node.slice, 'value', '')))
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            source.assigned.update(names)
            for name in names:
                source.key_paths.update(dict(_key_paths(node.value, name)))
    return source


def _key_paths(node: ast.expr, path: str) -> Iterator[tuple[str, str]]:
    """Names that stand as values in nested ``dict(...)``, with their key paths."""
    if isinstance(node, ast.Name):
        yield node.id, path
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            yield from _key_paths(keyword.value, f'{path}.{keyword.arg}')
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values):
            yield from _key_paths(value, f'{path}.{getattr(key, "value", "?")}')


def unread_settings(config: MMEngineConfig) -> list[str]:
    """A sentence for each setting of ``config`` that nobody reads.

    Args:
        config: As ``load_config`` returns it.
    """
    sources = _sources_of(config)
    told = [f'{_file(config)}: {text}' for text in unknown_nested(config)]
    for name in config:
        if name not in SETTINGS and not name.startswith('_'):
            told.append(_of_name(name, config, sources))
    return [sentence for sentence in told if sentence is not None]


def unread_options(config: MMEngineConfig, cfg_options: dict | None) -> list[str]:
    """A sentence for each top-level name of ``--cfg-options`` that nobody reads.

    Args:
        config: As ``load_config`` returns it.
        cfg_options: The overrides that were given to it, by dotted key.
    """
    sources = _sources_of(config) or []
    names = dict.fromkeys(key.split('.')[0] for key in cfg_options or {})
    # one that isn't there any more has been translated with the rest of a config of OpenMMLab 2.x
    return [_of_option(name, config, sources) for name in names if name not in SETTINGS and name in config]


def refuse_old_settings(config: MMEngineConfig) -> None:
    """Refuse a config that asks for another training than it would get.

    Raises:
        ConfigError: It has settings of OpenMMLab's generation 2 that nothing reads.
    """
    sources = _sources_of(config)
    # of another kind it is a variable of the user's own
    given = [name for name in REFUSED if isinstance(config.get(name), (dict, int))]
    found = [name for name in given if _of_name(name, config, sources) is not None]
    if found:
        new_names = '; '.join(f'{name} is now {OLD_NAMES[name]}' for name in found)
        raise ConfigError(
            f'{", ".join(found)}: keys of OpenMMLab 2.x configs, which have no effect ({new_names}). '
            'See docs/migrate_from_2x.md'
        )


def _file(config: MMEngineConfig) -> str:
    return config.filename or 'the config'


def _sources_of(config: MMEngineConfig) -> list[Source] | None:
    return read_sources(Path(config.filename)) if config.filename else None


def _of_option(name: str, config: MMEngineConfig, sources: list[Source]) -> str:
    path = next((source.key_paths[name] for source in reversed(sources) if name in source.key_paths), None)
    if path is not None:
        return f'--cfg-options {name}: the config had used {name} before, so this has no effect; set {path}'
    return f'--cfg-options {name}: nothing reads it{_hint(name, config)}'


def _of_name(name: str, config: MMEngineConfig, sources: list[Source] | None) -> str | None:
    """A sentence about a top-level name that nothing reads; None if something may read it."""
    definers = [source for source in sources or [] if name in source.assigned]
    if sources is not None:
        if not definers:  # set by a loop or an import
            return None
        if name in definers[-1].used or any(name in source.used_of_bases for source in sources):
            return None
    if _is_held(name, config):
        return None
    where = definers[-1].path if definers else _file(config)
    if name in OLD_NAMES:
        return f'{where}: {name} is of OpenMMLab 2.x and read by nothing; it has become {OLD_NAMES[name]}'
    user = next((source for source in reversed(sources or []) if name in source.key_paths), None)
    if user is not None:
        return (
            f'{where}: {name} has no effect here: {user.path} had used it before as {user.key_paths[name]}; set that, '
            f'to {name}, in the same file'
        )
    # a file without variables was written by a program: its scalars may have been used in a computation
    by_program = sources is None or not definers[-1].used
    if by_program and closest(name, SETTINGS) is None:
        return None
    return f'{where}: nothing reads {name}{_hint(name, config)}'


def _hint(name: str, config: MMEngineConfig) -> str:
    close = closest(name, [key for key in (*SETTINGS, *config) if key != name])
    if close is not None:
        return f'; did you mean {close!r}?'
    if name in OLD_NAMES:
        return f'; it has become {OLD_NAMES[name]}'
    paths = [path for path, node in _settings(config) if path and name in node]
    return f'; did you mean {paths[0]}.{name}?' if paths else ''


def _is_held(name: str, config: MMEngineConfig) -> bool:
    """Whether a setting holds the value of a variable: all of it, or a number under the same key."""
    value = config[name]
    if isinstance(value, (dict, list, tuple)) and value:
        return any(value == part for part in _parts([config.get(key) for key in SETTINGS]))
    return any(
        node[key] == value for _, node in _settings(config) for key in node if name == key or name.endswith(f'_{key}')
    )


def _settings(config: MMEngineConfig) -> Iterator[tuple[str, dict]]:
    return dicts_within({key: value for key, value in config.items() if key in SETTINGS})


def _parts(value) -> Iterator:
    yield value
    if isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _parts(part)
