"""A whole Detectron2 config -> a config of ours that trains, tests and predicts."""

import warnings
from collections.abc import Mapping

from mmdetlike.datasets.coco_panoptic import CocoPanopticDataset

from .model import model_config

DATA_ROOT = 'data/coco/'
# settings of training and testing that are not translated, with the value for which nothing is lost
UNTRANSLATED = {
    'DATALOADER.SAMPLER_TRAIN': 'TrainingSampler',
    'INPUT.CROP.ENABLED': False,
    'MODEL.LOAD_PROPOSALS': False,
    'SOLVER.BIAS_LR_FACTOR': 1.0,
    'SOLVER.LR_SCHEDULER_NAME': 'WarmupMultiStepLR',
    'SOLVER.REFERENCE_WORLD_SIZE': 0,
    'SOLVER.WEIGHT_DECAY_BIAS': None,
    'TEST.AUG.ENABLED': False,
    'TEST.PRECISE_BN.ENABLED': False,
}
# Detectron2 clips the gradient of each parameter by its own norm, mmengine those of all together
CLIPPED_ALIKE = 'value'


def untranslated_settings(cfg: Mapping) -> list[str]:
    """``KEY=VALUE`` of each setting that asks for something that ``whole_config`` leaves out.

    Args:
        cfg: The config as plain data with all keys.
    """
    found = {key: _value_at(cfg, key) for key in UNTRANSLATED}
    told = [f'{key}={value!r}' for key, value in found.items() if value not in (None, UNTRANSLATED[key])]
    clipping = cfg['SOLVER'].get('CLIP_GRADIENTS') or {}
    if clipping.get('ENABLED') and clipping['CLIP_TYPE'] != CLIPPED_ALIKE:
        told.append(f'SOLVER.CLIP_GRADIENTS.CLIP_TYPE={clipping["CLIP_TYPE"]!r}')
    if weights := cfg['MODEL'].get('WEIGHTS'):
        told.append(f'MODEL.WEIGHTS={weights!r} (a training starts from random weights, or from load_from)')
    names = [*cfg['DATASETS']['TRAIN'], *cfg['DATASETS']['TEST']]
    if not all('coco_2017' in name for name in names):
        told.append(f'DATASETS={", ".join(names)} (data is looked for below data/coco)')
    return told


def _value_at(cfg: Mapping, key: str):
    for name in key.split('.'):
        cfg = cfg.get(name) if isinstance(cfg, Mapping) else None
    return cfg


def whole_config(cfg: Mapping) -> dict:
    """Translate model, pipelines and schedule.

    Data stays where configs of ours have it: below ``data/coco``, to be changed where it lies elsewhere. A warning
    names the settings that are left out (``untranslated_settings``).

    Args:
        cfg: The config as plain data with all keys.

    Raises:
        ConfigError: A setting has no counterpart here.
    """
    solver = cfg['SOLVER']
    left_out = untranslated_settings(cfg)
    if left_out:
        warnings.warn(f'not translated from the config of Detectron2: {"; ".join(left_out)}', stacklevel=2)
    return dict(
        default_scope='mmdetlike',
        model=model_config(cfg),
        train_dataloader=_train_dataloader(cfg),
        val_dataloader=_test_dataloader(cfg),
        test_dataloader=_test_dataloader(cfg),
        val_evaluator=_evaluator(cfg),
        test_evaluator=_evaluator(cfg),
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
        log_processor=dict(type='LogProcessor', by_epoch=False),
    )


def _optimizer(solver: Mapping) -> dict:
    optimizer = dict(
        type='SGD',
        lr=solver['BASE_LR'],
        momentum=solver['MOMENTUM'],
        nesterov=solver['NESTEROV'],
        weight_decay=solver['WEIGHT_DECAY'],
    )
    decay = solver['WEIGHT_DECAY'] or 1.0
    norm_factor = solver['WEIGHT_DECAY_NORM'] / decay
    kind = 'AmpOptimWrapper' if solver['AMP']['ENABLED'] else 'OptimWrapper'
    wrapper = dict(type=kind, optimizer=optimizer, paramwise_cfg=dict(norm_decay_mult=norm_factor))
    clipping = solver.get('CLIP_GRADIENTS') or {}
    if clipping.get('ENABLED') and clipping['CLIP_TYPE'] == CLIPPED_ALIKE:
        wrapper['clip_grad'] = dict(type='value', clip_value=clipping['CLIP_VALUE'])
    return wrapper


def _schedule(solver: Mapping) -> list[dict]:
    return [
        dict(
            type='LinearLR', start_factor=solver['WARMUP_FACTOR'], by_epoch=False, begin=0, end=solver['WARMUP_ITERS']
        ),
        dict(
            type='MultiStepLR',
            by_epoch=False,
            begin=0,
            end=solver['MAX_ITER'],
            milestones=list(solver['STEPS']),
            gamma=solver['GAMMA'],
        ),
    ]


def _loading(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    if model['META_ARCHITECTURE'] == 'PanopticFPN':
        return dict(type='LoadPanopticAnnotations')
    if model['META_ARCHITECTURE'] == 'SemanticSegmentor':
        return dict(type='LoadAnnotations', with_bbox=False, with_seg=True)
    extra = dict(with_mask=True) if model['MASK_ON'] else {}
    if model['KEYPOINT_ON']:
        extra['with_keypoints'] = True
    return dict(type='LoadAnnotations', with_bbox=True, **extra)


def _train_dataloader(cfg: Mapping) -> dict:
    inputs = cfg['INPUT']
    scales = [(inputs['MAX_SIZE_TRAIN'], side) for side in inputs['MIN_SIZE_TRAIN']]
    resize = dict(type='RandomChoiceResize', scales=scales, keep_ratio=True)
    # the shorter side is one of these, or lies between the two
    if inputs['MIN_SIZE_TRAIN_SAMPLING'] == 'range':
        resize = dict(type='RandomResize', scale=scales, keep_ratio=True)
    flip = (
        [] if inputs['RANDOM_FLIP'] == 'none' else [dict(type='RandomFlip', prob=0.5, direction=inputs['RANDOM_FLIP'])]
    )
    pipeline = [dict(type='LoadImageFromFile'), _loading(cfg), resize, *flip, dict(type='PackDetInputs')]
    empty = cfg['DATALOADER']['FILTER_EMPTY_ANNOTATIONS']
    return dict(
        batch_size=cfg['SOLVER']['IMS_PER_BATCH'],
        num_workers=cfg['DATALOADER']['NUM_WORKERS'],
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(_dataset(cfg, 'train'), filter_cfg=dict(filter_empty_gt=empty), pipeline=pipeline),
    )


def _test_dataloader(cfg: Mapping) -> dict:
    scale = (cfg['INPUT']['MAX_SIZE_TEST'], cfg['INPUT']['MIN_SIZE_TEST'])
    return dict(
        batch_size=1,
        num_workers=cfg['DATALOADER']['NUM_WORKERS'],
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(_dataset(cfg, 'val'), test_mode=True, pipeline=predicting_pipeline(scale, _loading(cfg))),
    )


def predicting_pipeline(scale: tuple[int, int], loading: dict | None = None) -> list[dict]:
    """Load a picture, resize it into ``scale`` (longest and shortest side) and pack it."""
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    load_annotations = [] if loading is None else [loading]
    return [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=scale, keep_ratio=True),
        *load_annotations,
        dict(type='PackDetInputs', meta_keys=keys),
    ]


def _dataset(cfg: Mapping, part: str) -> dict:
    architecture = cfg['MODEL']['META_ARCHITECTURE']
    if architecture == 'PanopticFPN':
        return dict(
            type='CocoPanopticDataset',
            data_root=DATA_ROOT,
            ann_file=f'annotations/panoptic_{part}2017.json',
            data_prefix=dict(img=f'{part}2017/', seg=f'annotations/panoptic_{part}2017/'),
        )
    if architecture == 'SemanticSegmentor':
        # the label maps that Detectron2's script makes of panoptic ones, in which all things are class 0
        folders = dict(img_path=f'{part}2017/', seg_map_path=f'panoptic_stuff_{part}2017/')
        return dict(
            type='BaseSegDataset',
            data_root=DATA_ROOT,
            data_prefix=folders,
            metainfo=dict(classes=('things', *CocoPanopticDataset.METAINFO['stuff_classes'])),
        )
    dataset = dict(
        type='CocoDataset',
        data_root=DATA_ROOT,
        ann_file=_instances_file(cfg, part),
        data_prefix=dict(img=f'{part}2017/'),
    )
    if cfg['MODEL']['KEYPOINT_ON']:
        dataset['metainfo'] = dict(classes=('person',))
    return dataset


def _instances_file(cfg: Mapping, part: str) -> str:
    kind = 'person_keypoints' if cfg['MODEL']['KEYPOINT_ON'] else 'instances'
    return f'annotations/{kind}_{part}2017.json'


def _evaluator(cfg: Mapping) -> dict | list[dict]:
    model = cfg['MODEL']
    if model['META_ARCHITECTURE'] == 'SemanticSegmentor':
        return dict(type='SemSegMetric')
    metrics = ['bbox', *(['segm'] if model['MASK_ON'] else []), *(['keypoints'] if model['KEYPOINT_ON'] else [])]
    of_instances = dict(type='CocoMetric', metric=metrics, ann_file=DATA_ROOT + _instances_file(cfg, 'val'))
    if model['META_ARCHITECTURE'] != 'PanopticFPN':
        return of_instances
    panoptic = 'annotations/panoptic_val2017'
    segments = dict(
        type='CocoPanopticMetric', ann_file=f'{DATA_ROOT}{panoptic}.json', seg_prefix=f'{DATA_ROOT}{panoptic}/'
    )
    return [segments, of_instances]
