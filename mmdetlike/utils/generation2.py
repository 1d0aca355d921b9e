"""Telling a config of OpenMMLab's generation 2 from one of ours, and having it translated."""

import importlib
import logging
from collections.abc import Mapping

from mmengine.config import Config as MMEngineConfig
from mmengine.config import ConfigDict
from mmengine.logging import print_log

from mmdetlike.errors import ConfigError
from mmdetlike.registry import SCOPE
from mmdetlike.utils.options import apply_options

# found by name, as the parts in ``setup_env`` are: translations know more of the toolbox than this layer may
TRANSLATOR = f'{SCOPE}.compat.openmmlab2'
OLD = (
    'data',
    'optimizer',
    'optimizer_config',
    'lr_config',
    'runner',
    'total_epochs',
    'checkpoint_config',
    'log_config',
)
NEW = (
    *('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator', 'optim_wrapper'),
    *('param_scheduler', 'val_cfg', 'default_hooks', 'env_cfg', 'visualizer', 'randomness', 'log_processor'),
    *('tta_model', 'tta_pipeline'),
)
LOOP_KEYS = ('type', 'by_epoch', 'max_epochs', 'max_iters', 'val_interval')
HOW_TO_SAVE = ' To save the translation: python tools/misc/convert_config.py {path} NEW.py'


def is_of_generation_2(config: Mapping) -> bool:
    """Whether a config as a whole is of OpenMMLab 2.x: with ``data``, or two others of its keys, and with none of 3.x.

    Args:
        config: The config, or its values by top-level name.
    """
    if any(config.get(name) is not None for name in NEW) or any(
        _is_loop(config.get(f'{k}_cfg')) for k in ('train', 'test')
    ):
        return False
    data = config.get('data')
    if isinstance(data, Mapping) and any(
        isinstance(data.get(kind), (Mapping, list)) for kind in ('train', 'val', 'test')
    ):
        return True
    return sum(isinstance(config.get(name), (Mapping, int)) for name in OLD) > 1


def _is_loop(settings) -> bool:
    """Whether ``train_cfg`` or ``test_cfg`` are of a run; early 2.x has settings of the model there."""
    return isinstance(settings, Mapping) and any(key in settings for key in LOOP_KEYS)


def translated_from_2(config: MMEngineConfig, cfg_options: dict | None = None) -> MMEngineConfig:
    """A config of OpenMMLab 2.x as one of ours; a notice tells of it.

    Args:
        config: As a whole of 2.x; it is left as it is.
        cfg_options: Overrides by dotted key, in the words of 2.x where these lead somewhere, else in ours.

    Raises:
        ConfigError: Something in it can't be translated.
    """
    old = config.copy()
    options = cfg_options or {}
    early = {key: value for key, value in options.items() if _leads_into(old, key)}
    apply_options(old, early)
    source = config.filename or 'the config'
    try:
        result = importlib.import_module(TRANSLATOR).translate(_plain(old._cfg_dict))
    except ConfigError as error:
        raise ConfigError(f'{source}: {error}') from error
    new = MMEngineConfig(result.config, filename=config.filename)
    apply_options(new, {key: value for key, value in options.items() if key not in early})
    how_to_save = HOW_TO_SAVE.format(path=source) if config.filename else ''
    told = [f'{source} is of OpenMMLab 2.x and has been translated.{how_to_save}', *result.notes]
    print_log('\n  '.join(told), 'current', logging.WARNING)
    return new


def _plain(value):
    """Dicts, lists and tuples of builtin types, which the config's own are not."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in dict.items(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(part) for part in value)
    return value


def _leads_into(config: MMEngineConfig, key: str) -> bool:
    """Whether a dotted key names something in a config, or something new in a dict that it has."""
    *outer, last = key.split('.')
    node = config._cfg_dict
    for name in outer:
        if isinstance(node, (list, tuple)) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, ConfigDict) and name in node:
            node = node[name]
        else:
            return False
    return bool(outer and outer != ['model']) or last in node
