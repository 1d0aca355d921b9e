"""Reading configs, with messages that say which file and which key is wrong."""

import contextlib
import operator
from collections.abc import Callable, Iterator
from pathlib import Path

from mmengine.config import Config as MMEngineConfig
from mmengine.config import ConfigDict

from mmdetlike.build_errors import type_name
from mmdetlike.errors import ConfigError
from mmdetlike.registry import SCOPE
from mmdetlike.utils.config_files import find_config
from mmdetlike.utils.config_reading import read_config
from mmdetlike.utils.config_text import Config
from mmdetlike.utils.generation2 import is_of_generation_2, translated_from_2
from mmdetlike.utils.old_keys import apply_old_keys
from mmdetlike.utils.options import apply_options


def load_config(path: str | Path, cfg_options: dict | None = None) -> Config:
    """Read a config file with its bases and apply overrides.

    One of OpenMMLab's generation 2 is translated, and a notice tells of it.

    Args:
        path: A ``.py``, ``.json`` or ``.yaml`` file, or the name of a shipped config (``find_config``).
        cfg_options: Values by dotted key, as ``--cfg-options`` gives them.

    Raises:
        FileNotFoundError: The file, or one of its bases, doesn't exist; the message names close ones.
        ConfigError: It can't be read, an override doesn't fit, or it has a key that was renamed (``utils.old_keys``).
    """
    config = with_options(read_config(find_config(path)), cfg_options)
    apply_old_keys(config)
    if config.get('default_scope') is None:
        config.default_scope = SCOPE
    return Config.of(config)


def with_options(config: MMEngineConfig, cfg_options: dict | None) -> MMEngineConfig:
    """A config with overrides, translated if it is of OpenMMLab's generation 2, else the same object.

    Raises:
        ConfigError: An override doesn't fit, or something can't be translated.
    """
    if is_of_generation_2(config):
        return translated_from_2(config, cfg_options)
    apply_options(config, cfg_options or {})
    return config


def require(config: Config, *keys: str) -> None:
    """Check that a config has these top-level keys.

    Raises:
        ConfigError: One is missing.
    """
    missing = [key for key in keys if config.get(key) is None]
    if missing:
        raise ConfigError(
            f'{config.filename} has no {", ".join(missing)}; its top-level keys are {", ".join(config.keys())}'
        )


def dicts_within(config, prefix: str = '') -> Iterator[tuple[str, dict]]:
    """Each dict in ``config``, outer ones first, with its dotted path; that of ``config`` itself is ``prefix``."""
    if isinstance(config, dict):
        yield prefix, config
        children = ((f'{prefix}.{key}' if prefix else str(key), value) for key, value in config.items())
    elif isinstance(config, (list, tuple)):
        children = ((f'{prefix}[{i}]', value) for i, value in enumerate(config))
    else:
        return
    for path, value in children:
        yield from dicts_within(value, path)


def key_path(config, matches: Callable[[dict], bool]) -> str | None:
    """Dotted path of the first dict within ``config`` that ``matches``, or None."""
    return next((path for path, node in dicts_within(config) if path and matches(node)), None)


def _is_part_of(config: dict, target: dict) -> bool:
    """Whether ``target`` is ``config``, perhaps with arguments that its owner added."""
    return 'type' in config and all(key in target and target[key] == value for key, value in config.items())


def _is_rest_of(config: dict, target: dict) -> bool:
    """Whether ``target`` is what is left of ``config`` after its owner took arguments out."""
    return 'type' in target and all(key in config and config[key] == value for key, value in target.items())


def _path_of_error(error: ConfigError, tree: dict) -> str:
    """Key path of the dict that an error is about, looked for within the dicts that were being built around it."""
    found = [('', tree)]
    targets = [*reversed(error.enclosing), error.cfg] if error.cfg is not None else []
    for target in targets:
        # a loop that builds its dataloader is an example of a dict that isn't part of the one being built around it
        within = (_find(target, *outer) for outer in reversed(found))
        found += [next((match for match in within if match is not None), found[-1])]
    path = found[-1][0]
    if not path and error.unknown_type is not None:
        path = key_path(tree, lambda node: node.get('type') == error.unknown_type) or ''
    return path


def _find(target: dict, prefix: str, tree: dict) -> tuple[str, dict] | None:
    within = [(path, node) for path, node in dicts_within(tree, prefix) if path]
    # the likeliest first: the dict as it is, or after its owner has added arguments or taken some out
    for matches in (operator.eq, _is_part_of, _is_rest_of):
        for path, node in within:
            if matches(node, target):
                return path, node
    return None


def locate(error: ConfigError, config: MMEngineConfig, built: dict | None = None) -> str:
    """The message of a ``ConfigError`` with the file, the key path and the type that it is about; see ``located``."""
    parts = [config.filename or 'the config', _path_of_error(error, ConfigDict(built or config._cfg_dict))]
    kind = type_name(error.cfg['type']) if error.cfg is not None and 'type' in error.cfg else ''
    if kind not in str(error):
        parts.append(f'type={kind!r}')
    return ': '.join([*filter(None, parts), str(error)])


@contextlib.contextmanager
def located(config: MMEngineConfig, built: dict | None = None) -> Iterator[None]:
    """Within this context the message of a ``ConfigError`` is completed by the file and the key path it is about.

    Args:
        config: The config of the file.
        built: What objects are built of, where that is no longer ``config`` as it is; paths are those within it.
    """
    try:
        yield
    except ConfigError as error:
        if error.is_located:
            raise
        told = ConfigError(locate(error, config, built), error.cfg, error.unknown_type)
        told.is_located = True
        raise told from error
