"""Rules that the values of settings must meet."""

import logging
import math
import os
from collections.abc import Callable
from multiprocessing import get_all_start_methods
from numbers import Integral, Real
from typing import NamedTuple

from mmengine.registry import MODELS
from torch.distributed import is_initialized

# what each launcher tells the processes that it starts
LAUNCHER_VARIABLES = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}
KINDS = ('train', 'val', 'test')


class Rule(NamedTuple):
    """What a value must be, as the end of a sentence, and a function that tells whether it is."""

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
SWITCH = Rule('True or False', lambda value: isinstance(value, bool))
OPTIMIZER = Rule("a dict, as dict(type='SGD', lr=0.02)", lambda value: value is not None)
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
    'one dict: put several sets together in a ConcatDataset, and score each by its metrics in a MultiDatasetsEvaluator',
    lambda value: value is None or isinstance(value, dict) or hasattr(value, 'dataset'),
)
DATASET = Rule(
    "one dataset: put several together by dict(type='ConcatDataset', datasets=[...])",
    lambda value: not isinstance(value, (list, tuple, str)),
)
MODEL = Rule('a dict, or a model that is built', lambda value: value is not None)
FOLDER = Rule('the folder that the run writes into', lambda value: value is not None)
GROUP = Rule('a dict; leave it out for the defaults', lambda value: isinstance(value, dict))
METRICS = Rule(
    'a metric, or a list of at least one: leave validation out by None for dataloader, cfg and evaluator',
    lambda value: value is None or not isinstance(value, (list, tuple)) or len(value) > 0,
)
PREPROCESSOR = Rule("a dict, as dict(type='DetDataPreprocessor')", lambda value: value is not None)

RULES = {
    **{f'{kind}_dataloader': LOADER for kind in KINDS},
    **{f'{kind}_dataloader.dataset': DATASET for kind in KINDS},
    **{f'{kind}_evaluator': METRICS for kind in KINDS[1:]},
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
    'optim_wrapper.optimizer': OPTIMIZER,
    'optim_wrapper.optimizer.lr': NOT_NEGATIVE,
    'optim_wrapper.optimizer.weight_decay': NOT_NEGATIVE,
    'optim_wrapper.clip_grad.max_norm': POSITIVE_NUMBER,
    'optim_wrapper.clip_grad.clip_value': POSITIVE_NUMBER,
    'default_hooks.logger.interval': POSITIVE_INT,
    'default_hooks.visualization.interval': POSITIVE_INT,
    'default_hooks.checkpoint.interval': Rule('a whole number', lambda value: _is_whole(value, -math.inf)),
    'default_hooks.checkpoint.max_keep_ckpts': Rule('a whole number', lambda value: _is_whole(value, -math.inf)),
    'auto_scale_lr.base_batch_size': POSITIVE_INT,
    'log_processor.window_size': POSITIVE_INT,
    'randomness.seed': SEED,
    'randomness.deterministic': SWITCH,
    'randomness.diff_rank_seed': SWITCH,
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
