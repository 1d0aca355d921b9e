"""A whole Detectron2 config -> a config of ours that trains, tests and predicts."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from .common import choose
from .data import REPEATING, evaluator, test_dataloader, train_dataloader, unknown_datasets, uses_proposal_files
from .model import model_config
from .reading import Followed
from .testing import expected_scores, tta_settings, unknown_results

OF_THE_MACHINE = ('MODEL.DEVICE=', 'FLOAT32_PRECISION=', 'GLOBAL.HACK=')
DEFAULT_OUTPUT = './output'
POLYNOMIAL = 'WarmupPolyLR'
# settings of training and testing that are not translated, with the values for which nothing is lost
UNTRANSLATED = {
    'DATALOADER.SAMPLER_TRAIN': ('TrainingSampler', REPEATING),
    'DATALOADER.REPEAT_SQRT': (True,),
    'INPUT.IGNORE_CROWD_IN_SEMANTIC': (False,),
    'SOLVER.LR_SCHEDULER_NAME': ('WarmupMultiStepLR', 'WarmupCosineLR', POLYNOMIAL),
    'SOLVER.POLY_LR_CONSTANT_ENDING': (0.0,),
    'SOLVER.REFERENCE_WORLD_SIZE': (0,),
}
# backbones whose names are no addresses, as OpenMMLab publishes them
BACKBONES = {
    'ImageNetPretrained/FAIR/R-50-GN': 'open-mmlab://detectron/resnet50_gn',
    'ImageNetPretrained/FAIR/R-101-GN': 'open-mmlab://detectron/resnet101_gn',
}
# Detectron2 clips the gradient of each parameter by its own norm, mmengine those of all together
CLIPPING = {'value': ('value', 'clip_value'), 'norm': ('norm_per_parameter', 'max_norm')}


def untranslated_settings(cfg: Mapping) -> list[str]:
    """``KEY=VALUE`` of each setting that asks for something that ``whole_config`` leaves out.

    Args:
        cfg: The config as plain data with all keys.
    """
    found = {key: _value_at(cfg, key) for key in UNTRANSLATED}
    told = [f'{key}={value!r}' for key, value in found.items() if value not in (None, *UNTRANSLATED[key])]
    told += _left_out_of_tests(cfg)
    if (weights := cfg['MODEL'].get('WEIGHTS')) and not _is_file(weights):
        told.append(
            f'MODEL.WEIGHTS={weights!r} (without load_from a training starts from random weights; {_start(weights)})'
        )
    if names := unknown_datasets(cfg):
        told.append(f'DATASETS={", ".join(names)} (data is looked for below data/coco)')
    return told


def _is_file(weights: str) -> bool:
    return '://' not in weights and Path(weights).expanduser().is_file()


def _start(weights: str) -> str:
    """What has a training start from weights that a config names and that are no file."""
    name = weights.removeprefix('catalog://')
    if name in BACKBONES:
        return f"model.backbone.init_cfg=dict(type='Pretrained', checkpoint='{BACKBONES[name]}') fetches these"
    return f'load_from={weights!r} fetches these' if '://' in weights else 'there is no such file'


def _left_out_of_tests(cfg: Mapping) -> list[str]:
    told = []
    if cfg['TEST']['AUG']['ENABLED']:
        how = 'mmdetlike test --tta does it' if tta_settings(cfg) else 'of this architecture it is not known'
        told.append(f'TEST.AUG.ENABLED=True ({how})')
    if rows := unknown_results(cfg):
        told.append(f'TEST.EXPECTED_RESULTS={rows!r} (there are no such scores)')
    if cfg['MODEL']['LOAD_PROPOSALS'] and not uses_proposal_files(cfg['MODEL']):
        told.append('MODEL.LOAD_PROPOSALS=True (the model proposes regions itself)')
    return told


def _value_at(cfg: Mapping, key: str):
    for name in key.split('.'):
        cfg = cfg.get(name) if isinstance(cfg, Mapping) else None
    return cfg


def whole_config(cfg: Mapping, warn: bool = True) -> dict:
    """Translate model, pipelines and schedule.

    Data stays where configs of ours have it: that of COCO below ``data/coco``, to be changed where it lies elsewhere. A
    warning names the settings that are left out: those of ``untranslated_settings``, and all others that differ from
    Detectron2's default and that the translation of this model has no use for.

    Args:
        cfg: The config as plain data with all keys.
        warn: Give that warning, which is of no interest to who only predicts.

    Raises:
        ConfigError: A setting has no counterpart here.
    """
    followed = Followed(cfg)
    translated = _translate(followed)
    told = untranslated_settings(followed)
    if unused := [setting for setting in followed.unread() if not setting.startswith(OF_THE_MACHINE)]:
        told.append(f'without effect on this model: {", ".join(unused)}')
    if told and warn:
        warnings.warn(f'not translated from the config of Detectron2: {"; ".join(told)}', stacklevel=2)
    return translated


def _translate(cfg: Mapping) -> dict:
    solver = cfg['SOLVER']
    return dict(
        default_scope='mmdetlike',
        model=model_config(cfg),
        train_dataloader=train_dataloader(cfg),
        val_dataloader=test_dataloader(cfg),
        test_dataloader=test_dataloader(cfg),
        val_evaluator=evaluator(cfg),
        test_evaluator=evaluator(cfg),
        train_cfg=dict(
            type='IterBasedTrainLoop',
            max_iters=solver['MAX_ITER'],
            val_interval=cfg['TEST']['EVAL_PERIOD'] or solver['MAX_ITER'],
        ),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        optim_wrapper=_optimizer(solver),
        param_scheduler=_schedule(solver),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=solver['CHECKPOINT_PERIOD']),
            sampler_seed=dict(type='DistSamplerSeedHook'),
        ),
        custom_hooks=_custom_hooks(cfg),
        **tta_settings(cfg),
        **_of_the_run(cfg),
        log_processor=dict(type='LogProcessor', by_epoch=False),
    )


def _of_the_run(cfg: Mapping) -> dict:
    """Settings that only some configs change: seed, work folder, weights to start from."""
    settings = {}
    if (seed := cfg.get('SEED', -1)) >= 0:
        settings['randomness'] = dict(seed=seed)
    if cfg.get('CUDNN_BENCHMARK'):
        settings['env_cfg'] = dict(cudnn_benchmark=True)
    if (folder := cfg.get('OUTPUT_DIR', DEFAULT_OUTPUT)) != DEFAULT_OUTPUT:
        settings['work_dir'] = folder
    if (weights := cfg['MODEL'].get('WEIGHTS')) and _is_file(weights):
        settings['load_from'] = weights
    return settings


def _optimizer(solver: Mapping) -> dict:
    # only Panoptic-DeepLab has that key
    kinds = {
        'SGD': dict(type='SGD', momentum=solver['MOMENTUM'], nesterov=solver['NESTEROV']),
        'ADAM': dict(type='Adam'),
    }
    optimizer = dict(
        choose(solver.get('OPTIMIZER', 'SGD'), kinds, 'SOLVER.OPTIMIZER'),
        lr=solver['BASE_LR'],
        weight_decay=solver['WEIGHT_DECAY'],
    )
    kind = 'AmpOptimWrapper' if solver['AMP']['ENABLED'] else 'OptimWrapper'
    wrapper = dict(type=kind, optimizer=optimizer, paramwise_cfg=_parameter_groups(solver))
    clipping = solver.get('CLIP_GRADIENTS') or {}
    if clipping.get('ENABLED'):
        clip_type, argument = choose(clipping['CLIP_TYPE'], CLIPPING, 'SOLVER.CLIP_GRADIENTS.CLIP_TYPE')
        wrapper['clip_grad'] = {'type': clip_type, argument: clipping['CLIP_VALUE']}
        if clipping['CLIP_TYPE'] == 'norm':
            wrapper['clip_grad']['norm_type'] = clipping['NORM_TYPE']
    return wrapper


def _parameter_groups(solver: Mapping) -> dict:
    """Factors of the learning rate and of the decay of norms and biases."""
    decay = solver['WEIGHT_DECAY'] or 1.0
    groups = dict(norm_decay_mult=solver['WEIGHT_DECAY_NORM'] / decay)
    if solver.get('BIAS_LR_FACTOR', 1.0) != 1.0:
        groups['bias_lr_mult'] = solver['BIAS_LR_FACTOR']
    if solver.get('WEIGHT_DECAY_BIAS') is not None:
        groups['bias_decay_mult'] = solver['WEIGHT_DECAY_BIAS'] / decay
    return groups


def _custom_hooks(cfg: Mapping) -> list[dict]:
    testing = cfg['TEST']
    precise = testing['PRECISE_BN']
    hooks = []
    if precise['ENABLED']:
        hooks.append(dict(type='PreciseBNHook', interval=testing['EVAL_PERIOD'], num_iters=precise['NUM_ITER']))
    if expected := expected_scores(cfg):
        hooks.append(dict(type='ExpectedResultsHook', expected=expected))
    if (interval := cfg.get('VIS_PERIOD', 0)) > 0:
        hooks.append(dict(type='BatchPicturesHook', interval=interval))
    return hooks


def _schedule(solver: Mapping) -> list[dict]:
    # a factor that stays until the end of the warmup
    warmup = 'ConstantLR' if solver.get('WARMUP_METHOD') == 'constant' else 'LinearLR'
    key = 'factor' if warmup == 'ConstantLR' else 'start_factor'
    end = solver['WARMUP_ITERS']
    first = {'type': warmup, key: solver['WARMUP_FACTOR'], 'by_epoch': False, 'begin': 0, 'end': end}
    return [first, dict(_decay(solver), by_epoch=False, begin=0, end=solver['MAX_ITER'])]


def _decay(solver: Mapping) -> dict:
    """How the learning rate falls; by steps where their schedule is unknown, which is told."""
    if solver.get('LR_SCHEDULER_NAME') == 'WarmupCosineLR':
        return dict(type='CosineAnnealingLR', T_max=solver['MAX_ITER'], eta_min=solver.get('BASE_LR_END', 0.0))
    if solver.get('LR_SCHEDULER_NAME') == POLYNOMIAL:
        return dict(type='PolyLR', power=solver['POLY_LR_POWER'], eta_min=0.0)
    return dict(type='MultiStepLR', milestones=list(solver['STEPS']), gamma=solver['GAMMA'])
