"""The settings that a run reads: their names and kinds, and what is said of others."""

import difflib
import inspect
import logging
import os
from collections.abc import Iterable, Iterator

from mmengine.config import Config as MMEngineConfig
from torch.utils.data import DataLoader

from mmdetlike.errors import ConfigError
from mmdetlike.utils.config import dicts_within

PLAIN = (str, bytes, bool, int, float, list, tuple, dict)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# what a Runner has all of or nothing of; what training needs is the tools' to require
TOGETHER = (
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)

# top-level names that the Runner, the tools or inference read, and what they take; None is taken everywhere
SETTINGS: dict[str, tuple[type, ...]] = {
    'auto_scale_lr': (dict,),
    'compile': (bool, dict),
    'custom_hooks': (list, tuple),
    'custom_imports': (dict,),
    'data_preprocessor': (dict,),
    'default_hooks': (dict,),
    'default_scope': (str,),
    'env_cfg': (dict,),
    'experiment_name': (str,),
    'find_unused_parameters': (bool,),
    'launcher': (str,),
    'load_from': (str,),
    'log_level': (str, int),
    'log_processor': (dict,),
    'model': (dict,),
    'model_wrapper_cfg': (dict,),
    'optim_wrapper': (dict,),
    'param_scheduler': (dict, list, tuple),
    'randomness': (dict,),
    'resume': (bool,),
    'runner_type': (str,),
    'test_cfg': (dict,),
    'test_dataloader': (dict,),
    'test_evaluator': (dict, list, tuple),
    'train_cfg': (dict,),
    'train_dataloader': (dict,),
    'tta_model': (dict,),
    'tta_pipeline': (list, tuple),
    'val_cfg': (dict,),
    'val_dataloader': (dict,),
    'val_evaluator': (dict, list, tuple),
    'visualizer': (dict,),
    'work_dir': (str,),
}

# names of OpenMMLab's generation 2 that would change a training, and what has taken their place
OLD_NAMES = {
    'data': 'train_dataloader, val_dataloader and test_dataloader',
    'runner': 'train_cfg=dict(type=..., max_epochs=...)',
    'optimizer': 'optim_wrapper=dict(optimizer=...)',
    'optimizer_config': 'optim_wrapper=dict(clip_grad=...)',
    'lr_config': 'param_scheduler',
    'momentum_config': 'param_scheduler',
    'total_epochs': 'train_cfg=dict(max_epochs=...)',
    'evaluation': 'val_evaluator and train_cfg=dict(val_interval=...)',
    'checkpoint_config': 'default_hooks=dict(checkpoint=...)',
    'log_config': 'default_hooks=dict(logger=...) and visualizer',
    'dist_params': 'env_cfg=dict(dist_cfg=...)',
    'opencv_num_threads': 'env_cfg=dict(mp_cfg=...)',
    'mp_start_method': 'env_cfg=dict(mp_cfg=...)',
    'fp16': "optim_wrapper=dict(type='AmpOptimWrapper')",
    'seed': 'randomness=dict(seed=...)',
    'workflow': 'train_cfg, val_cfg and test_cfg',
}

NESTED = {
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'env_cfg.mp_cfg': ('mp_start_method', 'opencv_num_threads', 'omp_num_threads', 'mkl_num_threads'),
    'randomness': ('seed', 'diff_rank_seed', 'deterministic'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'custom_imports': ('imports', 'allow_failed_imports'),
}
METAINFO = ('classes', 'palette', 'thing_classes', 'stuff_classes')


def closest(name: str, names: Iterable[str], cutoff: float = 0.86) -> str | None:
    """The one of ``names`` that is spelled most like ``name``, if any is."""
    return next(iter(difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    names = list(names)
    close = closest(name, names, cutoff=0.5)
    return f'did you mean {close!r}?' if close else f'there are {", ".join(names)}.'


def check_settings(config: MMEngineConfig) -> None:
    """Check what every run would stumble over, before anything is built.

    Raises:
        ConfigError: A top-level setting is of another kind than its reader takes, or a dataloader has an argument that
            no loader takes; the message names file, key and value.
    """
    where = config.filename or 'the config'
    check_kinds(config)
    for name in LOADERS:
        if config.get(name) is not None:
            _check_loader(config[name], f'{where}: {name}')
    for names in TOGETHER:
        missing = [name for name in names if config.get(name) is None]
        if 0 < len(missing) < len(names):
            present = [name for name in names if name not in missing]
            raise ConfigError(f'{where} has {" and ".join(present)} without {" and ".join(missing)}: set all or none')
    _check_values(config, where)


def check_kinds(config: MMEngineConfig) -> None:
    """Check that top-level settings are of a kind that their readers take; objects may stand in place of configs.

    Raises:
        ConfigError: One isn't; the message names file, key and value.
    """
    where = config.filename or 'the config'
    for name, kinds in SETTINGS.items():
        value = config.get(name)
        if isinstance(value, PLAIN) and not isinstance(value, kinds):
            expected = ' or '.join(kind.__name__ for kind in kinds)
            raise ConfigError(f'{where}: {name} must be {expected}, got {value!r:.80}')
    for path, part in _parts_to_build(config):
        if isinstance(part, PLAIN) and not isinstance(part, dict):
            raise ConfigError(f"{where}: {path} must be a dict with the key 'type', got {part!r:.80}")


def _check_values(config: MMEngineConfig, where: str) -> None:
    level = config.get('log_level')
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        raise ConfigError(f"{where}: log_level must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', got {level!r}")
    seed = (config.get('randomness') or {}).get('seed')
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ConfigError(f'{where}: randomness.seed must be a whole number or None, got {seed!r}')


def _parts_to_build(config: MMEngineConfig) -> Iterator[tuple[str, object]]:
    """Key path and config of each part that a list, or the dict of hooks, names."""
    for name in ('custom_hooks', 'param_scheduler', 'val_evaluator', 'test_evaluator'):
        value = config.get(name)
        for i, part in enumerate(value if isinstance(value, (list, tuple)) else ()):
            yield f'{name}[{i}]', part
    for name, hook in (config.get('default_hooks') or {}).items():
        if hook is not None:
            yield f'default_hooks.{name}', hook


def _check_loader(loader: dict, where: str) -> None:
    own = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch', '_scope_')
    accepted = [*own, 'disable_subprocess_warning', *inspect.signature(DataLoader).parameters]
    for name in loader:
        if name not in accepted:
            raise ConfigError(f'{where}: {name!r} is not an argument; {did_you_mean(name, dict.fromkeys(accepted))}')
    if loader.get('dataset') is None:
        raise ConfigError(f'{where} has no dataset; it has {", ".join(loader)}')
    for name, least in (('batch_size', 1), ('num_workers', 0)):
        value = loader.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f'{where}.{name} must be a whole number of at least {least}, got {value!r}')


def leave_out_worker_settings(config: MMEngineConfig) -> None:
    """Take out of dataloaders without worker processes what only these use; torch would refuse it."""
    for name in LOADERS:
        loader = config.get(name)
        if isinstance(loader, dict) and loader.get('num_workers', 0) == 0:
            for key in ('persistent_workers', 'prefetch_factor'):
                loader.pop(key, None)


def unknown_nested(config: MMEngineConfig) -> Iterator[str]:
    """A sentence for each key that its reader passes over in silence, within the settings that have fixed keys."""
    tree = config.to_dict()
    for place, names in NESTED.items():
        node = tree
        for part in place.split('.'):
            node = node.get(part) if isinstance(node, dict) else None
        for key in node if isinstance(node, dict) else ():
            if key not in names:
                yield f'nothing reads {place}.{key}; {did_you_mean(key, names)}'
    for path, node in dicts_within({name: tree.get(name) for name in LOADERS}):
        if path.endswith('metainfo'):
            for key in node:
                close = closest(key, METAINFO)
                # other names are the user's own, kept for the user's own code
                if key.lower() not in METAINFO and close:
                    yield f'nothing reads {path}.{key}; did you mean {close!r}?'


def is_first_process() -> bool:
    """Whether messages are this process's to print."""
    return os.environ.get('RANK', os.environ.get('LOCAL_RANK', '0')) in ('', '0')
