"""Reading configs, with messages that say which file and which key is wrong."""

import copy
import difflib
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config as MMEngineConfig
from mmengine.config import ConfigDict

from mmdetlike.errors import ConfigError
from mmdetlike.registry import SCOPE
from mmdetlike.utils.config_text import Config


def load_config(path: str | Path, cfg_options: dict | None = None) -> Config:
    """Read a config file with its bases and apply overrides.

    Args:
        path: A ``.py``, ``.json`` or ``.yaml`` file.
        cfg_options: Values by dotted key, as ``--cfg-options`` gives them.

    Raises:
        FileNotFoundError: The file, or one of its bases, doesn't exist; the message names close ones.
        ConfigError: It can't be read or an override doesn't fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'config {path} does not exist{_similar_files(path)}')
    try:
        config = MMEngineConfig.fromfile(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: a base config is missing: {error}') from error
    except SyntaxError as error:
        raise ConfigError(f'{path} is not valid Python: {error.msg} (line {error.lineno})') from error
    except Exception as error:
        raise ConfigError(f'{path} could not be read: {type(error).__name__}: {error}') from error
    if cfg_options:
        try:
            config.merge_from_dict(copy.deepcopy(dict(cfg_options)))  # it writes into nested dicts
        except (KeyError, TypeError, IndexError) as error:
            raise ConfigError(f'--cfg-options {cfg_options} does not fit {path}: {error}') from error
    if config.get('default_scope') is None:
        config.default_scope = SCOPE
    return Config.of(config)


def _similar_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f': there is no folder {folder}'
    close = difflib.get_close_matches(path.name, [p.name for p in folder.glob('*')], n=3, cutoff=0.5)
    return f'; did you mean {", ".join(str(folder / name) for name in close)}?' if close else ''


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


def key_path(config, matches: Callable[[dict], bool], prefix: str = '') -> str | None:
    """Dotted path of the first dict within ``config`` that ``matches``, or None."""
    if isinstance(config, dict):
        if prefix and matches(config):
            return prefix
        children = ((f'{prefix}.{key}' if prefix else str(key), value) for key, value in config.items())
    elif isinstance(config, (list, tuple)):
        children = ((f'{prefix}[{i}]', value) for i, value in enumerate(config))
    else:
        return None
    found = (key_path(value, matches, path) for path, value in children)
    return next((path for path in found if path is not None), None)


def _is_part_of(config: dict, target: dict) -> bool:
    """Whether ``target`` is ``config``, perhaps with arguments that its owner added."""
    return 'type' in config and all(key in target and target[key] == value for key, value in config.items())


def locate(error: ConfigError, config: Config) -> str:
    """The message of a ``ConfigError`` with the file and key path it is about."""
    tree = ConfigDict(config._cfg_dict)
    criteria = []
    if error.cfg is not None:
        criteria += [lambda node: node == error.cfg, lambda node: _is_part_of(node, error.cfg)]
    if error.unknown_type is not None:
        criteria.append(lambda node: node.get('type') == error.unknown_type)
    paths = (key_path(tree, criterion) for criterion in criteria)
    path = next((path for path in paths if path is not None), None)
    where = f'{config.filename}: {path}: ' if path else f'{config.filename}: '
    return f'{where}{error}'
