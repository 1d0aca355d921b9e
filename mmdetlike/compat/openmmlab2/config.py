"""A whole config of OpenMMLab's detection toolbox 2.x as one of 3.x."""

import copy
from dataclasses import dataclass

from mmdetlike.errors import ConfigError

from .data import Data
from .evaluation import translate_evaluation
from .model import preprocessor, translate_model
from .report import Report
from .runtime import translate_custom_hooks, translate_environment, translate_hooks
from .schedule import MOMENTUM, Schedule, translate_optimizer, translate_runner

# settings of 2.x; other top-level names are variables
SETTINGS = (
    *('data', 'model', 'train_cfg', 'test_cfg', 'optimizer', 'optimizer_config', 'lr_config', 'momentum_config'),
    *('runner', 'total_epochs', 'evaluation', 'checkpoint_config', 'log_config', 'custom_hooks', 'dist_params', 'fp16'),
    *('opencv_num_threads', 'mp_start_method', 'cudnn_benchmark', 'log_level', 'load_from', 'resume_from', 'workflow'),
    *('seed', 'deterministic', 'auto_resume', 'device', 'gpu_ids', 'gpus', 'img_norm_cfg', 'file_client_args'),
)
# the same in 3.x
KEPT = ('work_dir', 'auto_scale_lr', 'find_unused_parameters', 'custom_imports', 'default_scope', 'launcher')
LEFT = '{path}: nothing of 2.x reads it; it is kept as it is'


@dataclass
class Translation:
    """A config of 3.x, and what is to be said about how it came to be.

    Attributes:
        config: The config.
        notes: What was left out because nothing that is computed depends on it, or has become another command.
    """

    config: dict
    notes: list[str]


def translate_config(cfg: dict) -> dict:
    """Translate a resolved config of 2.x.

    Args:
        cfg: Plain data: dicts, lists, tuples, numbers and text. It is left as it is.

    Returns:
        The config of 3.x.

    Raises:
        ConfigError: Something can't be translated; the message names each such value by its key path.
    """
    return translate(cfg).config


def translate(cfg: dict) -> Translation:
    """As ``translate_config``, with notes on what was left out.

    Raises:
        ConfigError: Something can't be translated; the message names each such value by its key path.
    """
    if not isinstance(cfg, dict):
        raise ConfigError(f'a config of OpenMMLab 2.x must be a dict, got {type(cfg).__name__}')
    cfg = copy.deepcopy(dict(cfg))
    report = Report()
    try:
        translated = _translated(cfg, report)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(
            f'this config of OpenMMLab 2.x has not the usual form: {type(error).__name__}: {error}'
        ) from error
    if report.refused:
        raise ConfigError(f'this config of OpenMMLab 2.x could not be translated: {"; ".join(report.refused)}')
    return Translation(translated, report.notes)


def _translated(cfg: dict, report: Report) -> dict:
    train_cfg = translate_runner(cfg, report)
    by_iterations = 'max_iters' in train_cfg
    data = Data(cfg.get('data') or {}, cfg.get('data_root'), by_iterations, report)
    evaluators, validation, saving = translate_evaluation(
        cfg.get('evaluation') or {}, cfg.get('data') or {}, data.loaders, report
    )
    translated = {key: cfg[key] for key in KEPT if key in cfg}
    if cfg.get('model') is not None:
        translated['model'] = _model(cfg, data, report)
    translated.update({f'{kind}_dataloader': loader for kind, loader in data.loaders.items()})
    translated.update(evaluators)
    translated.update(_loops(cfg, train_cfg, validation, data.loaders))
    translated.update(_training(cfg, train_cfg, by_iterations, report))
    translated.update(translate_hooks(cfg, by_iterations, saving, report))
    if cfg.get('custom_hooks'):
        translated['custom_hooks'] = translate_custom_hooks(cfg['custom_hooks'], report)
    translated.update(translate_environment(cfg, report))
    if data.tta_pipeline is not None:
        translated['tta_pipeline'] = data.tta_pipeline
        translated['tta_model'] = dict(type='DetTTAModel')
    translated.setdefault('default_scope', 'mmdetlike')
    return {**_variables(cfg, translated, report), **translated}


def _model(cfg: dict, data: Data, report: Report) -> dict:
    """The model, with the settings of training and test that early 2.x keeps outside of it."""
    outer = {key: cfg[key] for key in ('train_cfg', 'test_cfg') if cfg.get(key) is not None}
    model = translate_model({**cfg['model'], **outer}, report)
    made = preprocessor(model, data.pipelines, report)
    return {'type': model['type'], 'data_preprocessor': made, **model}


def _loops(cfg: dict, train_cfg: dict, validation: dict, loaders: dict) -> dict:
    loops = {}
    if train_cfg and 'train' in loaders:
        loops['train_cfg'] = {**train_cfg, **(validation if 'val' in loaders else {})}
    if 'val' in loaders:
        loops['val_cfg'] = dict(type='ValLoop')
    if 'test' in loaders:
        loops['test_cfg'] = dict(type='TestLoop')
    return loops


def _training(cfg: dict, train_cfg: dict, by_iterations: bool, report: Report) -> dict:
    """The optimizer and its schedule."""
    wrapper = translate_optimizer(cfg, report)
    translated = {} if wrapper is None else dict(optim_wrapper=wrapper)
    if not train_cfg:
        return translated
    length = train_cfg['max_iters' if by_iterations else 'max_epochs']
    optimizer = cfg.get('optimizer') or {}
    if cfg.get('lr_config') is not None:
        rate = optimizer.get('lr', 0.0)
        translated['param_scheduler'] = Schedule(cfg['lr_config'], length, by_iterations, rate, report).translate()
    if cfg.get('momentum_config') is not None:
        # of Adam it is the first of its factors
        momentum = optimizer.get('momentum') or (optimizer.get('betas') or (0.9,))[0]
        schedule = Schedule(cfg['momentum_config'], length, by_iterations, momentum, report, MOMENTUM)
        translated['param_scheduler'] = [*translated.get('param_scheduler', []), *schedule.translate()]
    return translated


def _variables(cfg: dict, translated: dict, report: Report) -> dict:
    """Variables that nothing has used: those that were used are where they were used, in 3.x's words."""
    used = [cfg[key] for key in SETTINGS if key in cfg]
    kept = {}
    for name, value in cfg.items():
        if name in (*SETTINGS, *KEPT) or name in translated or _is_within(value, used):
            continue
        kept[name] = value
        if isinstance(value, (dict, list, tuple)) and not name.startswith('_'):
            report.notes.append(LEFT.format(path=name))
    return kept


def _is_within(value, tree) -> bool:
    if value == tree and type(value) is type(tree):
        return True
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return any(_is_within(value, part) for part in parts)
