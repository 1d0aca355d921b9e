"""Finding the config of a detector: from a file, the name of a shipped one, or a checkpoint."""

import copy
from pathlib import Path

from mmengine.config import Config, ConfigDict

from mmdetlike.errors import ConfigError
from mmdetlike.registry import ALIASES, SCOPE
from mmdetlike.utils.checkpoint import CheckpointError
from mmdetlike.utils.config import load_config, with_options
from mmdetlike.utils.generation2 import is_of_generation_2, translated_from_2
from mmdetlike.utils.stored_config import parse_config

SUFFIXES = ('.py', '.json', '.yml', '.yaml')
# what inference needs of a config
_KEYS = ('default_scope', 'model', 'test_dataloader', 'visualizer')
_SCOPES = (SCOPE, *ALIASES, 'mmengine')


def as_config(model: str | Path | Config | dict, cfg_options: dict | None = None, scope: str = SCOPE) -> Config:
    """A ``Config`` from a path, a name, or a copy of a given one.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It can't be read, has no ``model``, or an override doesn't fit.
        TypeError: ``model`` is none of these.
    """
    cfg_options = copy.deepcopy(dict(cfg_options or {}))  # mmengine's merging writes into it
    if isinstance(model, (str, Path)):
        cfg = load_config(model, cfg_options)
    elif isinstance(model, (Config, dict)):
        cfg = with_options(model.copy() if isinstance(model, Config) else Config(model), cfg_options)
    else:
        raise TypeError(f'config must be a path or a Config, got {type(model).__name__}')
    if cfg.get('model') is None:
        raise ConfigError(f'{cfg.filename or "the config"} has no model; its top-level keys are {", ".join(cfg)}')
    if cfg.get('default_scope') is None:
        cfg.default_scope = scope
    return cfg


def config_in_checkpoint(checkpoint: dict, source: str) -> Config:
    """The config that a checkpoint was trained with, as far as inference needs it.

    Its text is parsed, never run, and may name classes only as the registries do: a checkpoint is no reason to import
    what its author chose.

    Args:
        checkpoint: What the file holds.
        source: The file, for messages.

    Raises:
        CheckpointError: There is no config in it, or one that isn't plain data.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        raise CheckpointError(f'{source} does not hold the config of its model: give it as the first argument, model')
    try:
        values = _needed_of(parse_config(text))
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(
            f'the config in {source} is more than plain data ({error}): give the config file as the first argument, '
            'model'
        ) from error
    imported = sorted(name for name in _type_names(values) if not _is_registry_name(name))
    if imported:
        raise CheckpointError(
            f'the config in {source} names {", ".join(imported)} by import path, which could run code of its author: '
            'give a config file that you trust as the first argument, model'
        )
    return Config(ConfigDict(values))


def _needed_of(values: dict) -> dict:
    """What inference needs of a config, in our words."""
    if is_of_generation_2(values):
        values = translated_from_2(Config(values)).to_dict()
    return {name: value for name, value in values.items() if name in _KEYS}


def _type_names(value) -> set[str]:
    if isinstance(value, dict):
        own = {str(value['type'])} if value.get('type') is not None else set()
        return own.union(*(_type_names(child) for child in value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*(_type_names(child) for child in value))
    return set()


def _is_registry_name(name: str) -> bool:
    scope, _, bare = name.rpartition('.')
    return bare.isidentifier() and scope in ('', *_SCOPES)
