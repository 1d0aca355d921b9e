"""What can be wrong with a run's config, looked at before anything is built or written."""

import logging
import math
import os
from collections.abc import Callable
from multiprocessing import get_all_start_methods
from numbers import Integral, Real
from typing import NamedTuple

from mmengine.registry import MODELS
from torch.distributed import is_initialized

from mmdetlike.errors import ConfigError
from mmdetlike.utils.settings import OLD_NAMES

# what each launcher tells the processes that it starts
LAUNCHER_VARIABLES = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}
KINDS = ('train', 'val', 'test')
MISSING = object()


class Rule(NamedTuple):
    """What a value must be, and whether it is."""

    expected: str
    holds: Callable[[object], bool]


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value, least: float) -> bool:
    return _is_number(value) and float(value).is_integer() and value >= least


def _is_log_level(value) -> bool:
    names = logging.getLevelNamesMapping()
    return isinstance(value, int) or (isinstance(value, str) and value in names)


POSITIVE = Rule('a positive whole number', lambda value: _is_whole(value, 1))
COUNT = Rule('a whole number, at least 0', lambda value: _is_whole(value, 0))
POSITIVE_INT = Rule('a positive integer', lambda value: isinstance(value, Integral) and _is_whole(value, 1))
NUMBER = Rule('a finite number', _is_number)
NOT_NEGATIVE = Rule('a finite number, at least 0', lambda value: _is_number(value) and value >= 0)
POSITIVE_NUMBER = Rule('a number above 0', lambda value: _is_number(value) and value > 0)
SEED = Rule(
    'a whole number from 0 to 2**32 - 1, or None',
    lambda value: value is None or (isinstance(value, Integral) and 0 <= value < 2**32),
)
LOG_LEVEL = Rule("one of 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'", _is_log_level)
MILESTONES = Rule(
    'a list of whole numbers, at least 0',
    lambda value: isinstance(value, (list, tuple)) and all(_is_whole(step, 0) for step in value),
)

SCOPE = Rule(
    'the scope of a registry, as mmdetlike or mmdet',
    lambda value: value is None or value in ('mmengine', *MODELS.children),
)
LAUNCHER = Rule(
    "'none', or 'pytorch', 'slurm' or 'mpi' in a process that torchrun, srun or mpirun has started",
    lambda value: value == 'none' or is_initialized() or LAUNCHER_VARIABLES.get(value, '') in os.environ,
)
START_METHOD = Rule(f'one of {get_all_start_methods()}', lambda value: value in get_all_start_methods())
LOADER = Rule(
    'one dict: a run validates or tests on one set; score several one after the other, or in a ConcatDataset',
    lambda value: value is None or isinstance(value, dict) or hasattr(value, 'dataset'),
)
DATASET = Rule(
    "one dataset: put several together by dict(type='ConcatDataset', datasets=[...])",
    lambda value: not isinstance(value, (list, tuple, str)),
)
MODEL = Rule('a dict, or a model that is built', lambda value: value is not None)
FOLDER = Rule('the folder that the run writes into', lambda value: value is not None)
GROUP = Rule('a dict; leave it out for the defaults', lambda value: isinstance(value, dict))
PREPROCESSOR = Rule("a dict, as dict(type='DetDataPreprocessor')", lambda value: value is not None)

RULES = {
    **{f'{kind}_dataloader': LOADER for kind in KINDS},
    **{f'{kind}_dataloader.dataset': DATASET for kind in KINDS},
    'model': MODEL,
    'work_dir': FOLDER,
    'env_cfg': GROUP,
    'randomness': GROUP,
    'default_scope': SCOPE,
    'launcher': LAUNCHER,
    'env_cfg.mp_cfg.mp_start_method': START_METHOD,
    'model.data_preprocessor': PREPROCESSOR,
    'train_cfg.max_epochs': POSITIVE,
    'train_cfg.max_iters': POSITIVE,
    'train_cfg.val_interval': POSITIVE,
    'train_cfg.val_begin': COUNT,
    'optim_wrapper.accumulative_counts': POSITIVE_INT,
    'optim_wrapper.optimizer.lr': NOT_NEGATIVE,
    'optim_wrapper.optimizer.weight_decay': NOT_NEGATIVE,
    'optim_wrapper.clip_grad.max_norm': POSITIVE_NUMBER,
    'optim_wrapper.clip_grad.clip_value': POSITIVE_NUMBER,
    'default_hooks.logger.interval': POSITIVE_INT,
    'default_hooks.visualization.interval': POSITIVE_INT,
    'default_hooks.checkpoint.interval': Rule('a whole number', lambda value: _is_whole(value, -math.inf)),
    'default_hooks.checkpoint.max_keep_ckpts': Rule('a whole number', lambda value: _is_whole(value, -math.inf)),
    'auto_scale_lr.base_batch_size': POSITIVE_INT,
    'randomness.seed': SEED,
    'log_level': LOG_LEVEL,
    **{f'{kind}_dataloader.batch_size': POSITIVE_INT for kind in KINDS},
    **{f'{kind}_dataloader.num_workers': COUNT for kind in KINDS},
}
# of each schedule
SCHEDULE_RULES = {
    'begin': COUNT,
    'end': POSITIVE,
    'milestones': MILESTONES,
    'gamma': NUMBER,
    'factor': NUMBER,
    'start_factor': NUMBER,
    'end_factor': NUMBER,
    'eta_min': NUMBER,
    'power': NUMBER,
    **dict.fromkeys(('T_max', 'step_size', 'total_steps', 'total_iters'), POSITIVE),
}
# of the old names those that would train otherwise than the config says; what took their place says OLD_NAMES
OLD_KEYS = (
    'data',
    'runner',
    'optimizer',
    'optimizer_config',
    'lr_config',
    'momentum_config',
    'evaluation',
    'checkpoint_config',
    'log_config',
    'total_epochs',
)


def check_settings(cfg) -> None:
    """Look at the numbers of a run, at the parts of its loops, and for keys that nothing reads any more.

    Raises:
        ConfigError: One is wrong; the message names key, value and what was expected.
    """
    _refuse_old_keys(cfg)
    for key, rule in RULES.items():
        _check(key, _value_at(cfg, key), rule)
    schedules = cfg.get('param_scheduler') or []
    for prefix, schedule in _numbered('param_scheduler', schedules):
        for name, rule in SCHEDULE_RULES.items():
            value = schedule.get(name)
            _check(f'{prefix}.{name}', MISSING if value is None else value, rule)
    for kind in KINDS[1:]:
        _check_complete(cfg, kind)


def _refuse_old_keys(cfg) -> None:
    optimizers = [cfg.get('optim_wrapper') or {}]
    used = [wrapper.get('optimizer') for wrapper in optimizers if isinstance(wrapper, dict)]
    # a variable of that name may serve in a key of today's
    found = [key for key in OLD_KEYS if isinstance(cfg.get(key), (dict, int)) and cfg[key] not in used]
    if found:
        places = '; '.join(f'{key} is now {OLD_NAMES[key]}' for key in found)
        raise ConfigError(
            f'{", ".join(found)}: keys of OpenMMLab 2.x configs, which have no effect ({places}). See docs/migrate.md'
        )


def _value_at(cfg, key: str):
    value = cfg
    for name in key.split('.'):
        if not isinstance(value, dict) and value is not cfg:
            return MISSING
        value = value.get(name, MISSING)
        if value is MISSING:
            return MISSING
    return value


def _numbered(key: str, schedules) -> list[tuple[str, dict]]:
    """The schedules of one optimizer or several, by key."""
    if isinstance(schedules, dict) and 'type' not in schedules:
        return [pair for name, part in schedules.items() for pair in _numbered(f'{key}.{name}', part)]
    if isinstance(schedules, dict):
        return [(key, schedules)]
    return [(f'{key}.{i}', part) for i, part in enumerate(schedules) if isinstance(part, dict)]


def _check(key: str, value, rule: Rule) -> None:
    if value is not MISSING and not rule.holds(value):
        raise ConfigError(f'{key}={value!r}: it should be {rule.expected}')


def _check_complete(cfg, kind: str) -> None:
    parts = [f'{kind}_{part}' for part in ('dataloader', 'cfg', 'evaluator')]
    given = [part for part in parts if cfg.get(part) is not None]
    if 0 < len(given) < len(parts):
        absent = [part for part in parts if part not in given]
        raise ConfigError(
            f'{" and ".join(given)} without {" and ".join(absent)}: give all of {", ".join(parts)}, or none to go '
            f'without {"validation" if kind == "val" else "testing"}'
        )
