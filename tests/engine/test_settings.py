"""Numbers, contradictions and forgotten keys of a config end a run before it begins, in a sentence."""

import os
import signal
import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmdetlike.engine import Runner, launch
from mmdetlike.engine.explain import WorkerKilledError
from mmdetlike.errors import ConfigError
from mmdetlike.utils.settings import check_settings
from tests.utils import tiny_config, train, without_validation

WRONG = {
    'train_dataloader': ([dict(batch_size=2)],),
    'val_dataloader': ([dict(batch_size=2)], 'val'),
    'train_dataloader.dataset': ([dict(type='ShapesDataset')], 'ShapesDataset'),
    'test_dataloader.dataset': ([dict(type='ShapesDataset')],),
    'val_evaluator': ([],),
    'model': (None,),
    'work_dir': (None,),
    'env_cfg': (None,),
    'randomness': (None,),
    'train_cfg.max_epochs': (0, -1, 1.5, 'abc', None, True, float('inf')),
    'train_cfg.val_interval': (0, -1, 'x'),
    'train_cfg.val_begin': (-1, 'x'),
    'train_dataloader.batch_size': (0, -2, 2.5, '2', None),
    'val_dataloader.batch_size': (0,),
    'train_dataloader.num_workers': (-1, 'two'),
    'optim_wrapper.optimizer.lr': (-1, 'abc', float('nan'), float('inf')),
    'optim_wrapper.optimizer.weight_decay': (-0.1,),
    'optim_wrapper.accumulative_counts': (0, 1.5),
    'optim_wrapper.clip_grad': (dict(max_norm=0), dict(max_norm='1')),
    'default_hooks.logger.interval': (0, -5),
    'default_hooks.checkpoint.interval': ('often', 0.5),
    'randomness.seed': (-1, 'abc', 2**32, 1.5),
    'randomness.deterministic': ('abc', 1),
    'log_processor.window_size': (0,),
    'optim_wrapper.optimizer': (None,),
    'log_level': ('nonsense', None),
    'default_scope': ('nosuch',),
    'env_cfg.mp_cfg.mp_start_method': ('nonsense',),
    'model.data_preprocessor': (None,),
    'param_scheduler': (
        [dict(type='CosineAnnealingLR', T_max=0)],
        [dict(type='StepLR', step_size=0)],
        [dict(type='MultiStepLR', milestones='8')],
        [dict(type='MultiStepLR', milestones=[1, 'x'])],
        dict(type='LinearLR', start_factor=float('nan')),
        dict(a=[dict(type='LinearLR', begin=-1)]),
    ),
}
RIGHT = {
    'train_cfg.max_epochs': (1, 12.0),
    'optim_wrapper.optimizer.lr': (0, 1e-9, 10),
    'optim_wrapper.clip_grad': (None, dict(max_norm=0.1, norm_type=2), dict(type='value', clip_value=1)),
    'default_hooks.checkpoint.interval': (-1, 3),
    'randomness.seed': (None, 0, 2**32 - 1),
    'log_level': ('INFO', 10),
    'param_scheduler': (None, [], dict(type='StepLR', step_size=3), [dict(type='CosineAnnealingLR', T_max=None)]),
    'default_hooks.logger': (None,),
    'default_scope': (None, 'mmdet', 'mmdetlike', 'mmengine'),
    'optimizer': (None, 'a name'),
}


def cases(table: dict) -> list[tuple]:
    return [(key, value) for key, values in table.items() for value in values]


def config_with(work_dir, key: str, value):
    cfg = tiny_config(work_dir, 'retinanet')
    *path, last = key.split('.')
    node = cfg
    for name in path:
        node = node[name]
    node[last] = value
    return cfg


@pytest.mark.parametrize(('key', 'value'), cases(WRONG))
def test_wrong_numbers_are_named(key, value, tmp_path):
    with pytest.raises(ConfigError, match=rf': {key}.*: it should be (a|one|the|True) '):
        check_settings(config_with(tmp_path, key, value))


@pytest.mark.parametrize(('key', 'value'), cases(RIGHT))
def test_right_numbers_pass(key, value, tmp_path):
    check_settings(config_with(tmp_path, key, value))


def test_nothing_is_written_for_a_wrong_number(tmp_path):
    cfg = config_with(tmp_path / 'run', 'train_cfg.max_epochs', 0)
    with pytest.raises(ConfigError, match=r'train_cfg.max_epochs=0: it should be a positive whole number'):
        launch(cfg, 'train')
    assert not (tmp_path / 'run').exists()


def test_parts_of_training_come_together(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.optim_wrapper = None
    with pytest.raises(ConfigError, match='train_dataloader and train_cfg without optim_wrapper: give all of train_d'):
        Runner.from_cfg(cfg)


def test_custom_imports_of_a_config_from_python(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet', custom_imports=dict(imports='nosuch_module'))
    with pytest.raises(
        ConfigError, match=r'custom_imports: there is no module nosuch_module, neither .*installed nor in'
    ):
        Runner.from_cfg(cfg)


@pytest.mark.parametrize('part', ['dataloader', 'cfg', 'evaluator'])
@pytest.mark.parametrize('kind', ['val', 'test'])
def test_parts_of_a_loop_come_together(kind, part, tmp_path):
    cfg = tiny_config(tmp_path)
    cfg[f'{kind}_{part}'] = None
    with pytest.raises(ConfigError, match=rf'without {kind}_{part}: give all of {kind}_dataloader, {kind}_cfg'):
        check_settings(cfg)


@pytest.mark.parametrize(
    ('old', 'today'),
    [
        (dict(data=dict(samples_per_gpu=2)), 'data is now train_dataloader'),
        (dict(runner=dict(type='EpochBasedRunner', max_epochs=12)), 'runner is now train_cfg'),
        (dict(optimizer=dict(type='SGD', lr=0.5)), 'optimizer is now optim_wrapper'),
        (dict(lr_config=dict(policy='step'), total_epochs=3), 'lr_config is now param_scheduler; total_epochs is now'),
    ],
)
def test_keys_of_2x_are_refused(old, today, tmp_path):
    cfg = tiny_config(tmp_path, **old)
    with pytest.raises(ConfigError, match=rf'keys of OpenMMLab 2.x configs, which have no effect \({today}'):
        check_settings(cfg)


def test_a_variable_may_have_an_old_name(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.optimizer = cfg.optim_wrapper.optimizer
    check_settings(cfg)


def test_an_endless_sampler_has_no_epochs(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet', train_dataloader=dict(sampler=dict(type='InfiniteSampler')))
    with pytest.raises(ConfigError, match='InfiniteSampler never ends, but EpochBasedTrainLoop counts epochs'):
        train(cfg)


@pytest.mark.parametrize('kind', ['val', 'test'])
def test_a_validation_or_test_that_would_never_end(kind, tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg[f'{kind}_dataloader'].sampler = dict(type='InfiniteSampler')
    message = f'{kind}_dataloader.sampler: InfiniteSampler never ends, but each sample is scored once'
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ConfigError, match=message):
        runner.train() if kind == 'val' else runner.test()
    assert not list(tmp_path.glob('*.pth'))


def test_a_config_that_stops_early_can_be_tested(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP', rule='greater')]
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    assert 'coco/bbox_mAP' in Runner.from_cfg(cfg).test()


def test_no_batch_is_left(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet', train_dataloader=dict(batch_size=20, drop_last=True))
    with pytest.raises(ConfigError, match=r'batch_size=20 with drop_last=True leaves no batch of the 16 samples'):
        train(cfg)


def test_settings_of_workers_without_workers(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.train_dataloader.update(num_workers=0, persistent_workers=True, prefetch_factor=4, timeout=3)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (0, False, None)
    cfg.train_dataloader.num_workers = 1
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (1, True, 4)


def test_unknown_setting_of_a_dataloader(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.train_dataloader.batchsize = 3
    with pytest.raises(ConfigError, match=r"'batchsize' is not an argument of a dataloader; did you mean 'batch_size'"):
        train(cfg)


def test_a_default_hook_can_be_left_out(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet', default_hooks=dict(visualization=None, logger=None, checkpoint=None))
    names = {type(hook).__name__ for hook in Runner.from_cfg(cfg).hooks}
    assert not names & {'DetVisualizationHook', 'LoggerHook', 'CheckpointHook'}
    assert {'RuntimeInfoHook', 'ParamSchedulerHook', 'DistSamplerSeedHook'} <= names


EARLY = dict(type='EarlyStoppingHook', rule='greater')


@pytest.mark.parametrize(
    ('save_best', 'monitor', 'sentence'),
    [
        ('bbox_mAP', None, r"save_best='bbox_mAP': val_evaluator gives no such score; did you mean 'coco/bbox_mAP'\?"),
        ('coco/bbox_mAP50', None, r"did you mean 'coco/bbox_mAP_50'\? It gives coco/bbox_mAP, "),
        (None, 'coco/segm_mAP', r"EarlyStoppingHook.monitor='coco/segm_mAP': val_evaluator gives no such score"),
        ('pascal_voc/mAP', None, r"save_best='pascal_voc/mAP': val_evaluator gives no such score"),
        ('coco/bbox_mAP_s', 'coco/circle_precision', None),
        ('auto', None, None),
    ],
)
def test_monitored_scores_are_looked_for_before_training(save_best, monitor, sentence, tmp_path):
    cfg = tiny_config(
        tmp_path, 'retinanet', train_cfg=dict(max_epochs=1), train_dataloader=dict(dataset=dict(length=4))
    )
    cfg.val_evaluator.classwise = True
    cfg.default_hooks.checkpoint.update(save_best=save_best, rule='greater')
    cfg.custom_hooks = [dict(EARLY, monitor=monitor)] if monitor else []
    if sentence is None:
        train(cfg)
        return
    with pytest.raises(ConfigError, match=sentence):
        train(cfg)
    assert list(tmp_path.glob('*.pth')) == []


def test_the_score_of_a_schedule_is_looked_for_before_training(tmp_path):
    plateau = dict(type='ReduceOnPlateauLR', monitor='bbox_mAP', rule='greater')
    cfg = tiny_config(tmp_path, 'retinanet', param_scheduler=[plateau])
    with pytest.raises(ConfigError, match=r"ReduceOnPlateauLR.monitor='bbox_mAP': .*; did you mean 'coco/bbox_mAP'\?"):
        train(cfg)
    assert list(tmp_path.glob('*.pth')) == []


def test_scores_without_validation_are_told(tmp_path):
    plateau = dict(type='ReduceOnPlateauLR', monitor='coco/bbox_mAP')
    cfg = without_validation(tiny_config(tmp_path, 'retinanet', param_scheduler=[plateau]))
    cfg.train_cfg.max_epochs = 1
    runner, _ = train(cfg)
    log = (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()
    assert "ReduceOnPlateauLR.monitor='coco/bbox_mAP' has no effect: this run has no validation" in log


def test_a_setting_that_nothing_reads_is_told_by_the_runner(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet', env_cfg=dict(nosuch=1))
    runner = Runner.from_cfg(cfg)
    assert 'nothing reads env_cfg.nosuch' in (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()


def test_settings_of_prediction_are_looked_at_before_training(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.model.test_cfg.score_thr = '0.5'
    with pytest.raises(ConfigError, match=r'model.test_cfg.score_thr must be a number, got the str'):
        Runner.from_cfg(cfg)


@pytest.mark.parametrize(
    ('key', 'value', 'sentence'),
    [
        ('custom_hooks', ['EMAHook'], r"custom_hooks\[0\] must be a dict with the key 'type', got 'EMAHook'"),
        ('model', 'retinanet', r"model must be dict, got 'retinanet'"),
        ('param_scheduler', 'step', r"param_scheduler must be dict or list or tuple, got 'step'"),
        ('optim_wrapper', [1], r'optim_wrapper must be dict, got \[1\]'),
        ('randomness.sed', 3, r"randomness.sed is no setting; did you mean 'seed'"),
        ('train_dataloader.sampler', 'DefaultSampler', r"train_dataloader.sampler must be a dict with the key 'type'"),
        ('launcher', 'slurm', r"launcher='slurm': it should be 'none', or .* that torchrun, srun or mpirun"),
        ('launcher', 'ssh', r"launcher='ssh': it should be"),
    ],
)
def test_settings_of_other_kinds_are_named_by_the_runner(key, value, sentence, tmp_path):
    cfg = config_with(tmp_path, key, value)
    with pytest.raises(ConfigError, match=sentence):
        Runner.from_cfg(cfg)


def test_the_layer_with_other_channels_is_named(tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.model.bbox_head.in_channels = 24
    with pytest.raises(ConfigError, match=r'model: bbox_head\..*, Conv2d, .*to have 24 channels, but got 16'):
        train(cfg)


@pytest.mark.parametrize('metric', ['CocoMetric', 'ClassReportMetric'])
def test_a_validation_without_truth_is_refused_before_training(metric, tmp_path):
    cfg = tiny_config(tmp_path, 'retinanet')
    cfg.val_evaluator = dict(type=metric)
    pack = cfg.val_dataloader.dataset.pipeline[-1]
    assert 'instances' in pack.meta_keys
    pack.meta_keys = [key for key in pack.meta_keys if key != 'instances']
    with pytest.raises(
        ConfigError, match=rf'{metric} of val_evaluator has no ann_file .*instances.* of val_dataloader'
    ):
        train(cfg)


class KillWorker(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            os.kill(runner.train_dataloader._iterator._workers[0].pid, signal.SIGKILL)
            time.sleep(5)  # until the signal of its end interrupts it


def test_a_killed_worker_is_explained(tmp_path):
    cfg = without_validation(tiny_config(tmp_path, 'retinanet'))
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True, batch_size=2)
    with pytest.raises(WorkerKilledError, match=r'DataLoader worker .*: a process that loads data was ended'):
        train(cfg, KillWorker())


@pytest.mark.parametrize(
    ('weights', 'sentence'),
    [
        (
            [1.0] * 5,
            r'roi_head.bbox_head.loss_cls.class_weight has 5 weights, but .* with num_classes=5 takes 6, the last',
        ),
        (
            [1.0] * 5 + [-1.0],
            r'class_weight=\[1.0, 1.0, 1.0, 1.0, 1.0, -1.0\]: weights should be finite and at least 0',
        ),
        ([1.0] * 5 + [float('nan')], r'weights should be finite and at least 0'),
        ([1.0] * 5 + [0.5], None),
    ],
)
def test_class_weights_are_checked_before_training(weights, sentence, tmp_path):
    cfg = without_validation(tiny_config(tmp_path, train_cfg=dict(max_epochs=1)))
    cfg.train_dataloader.dataset.length = 4
    cfg.model.roi_head.bbox_head.loss_cls.class_weight = weights
    if sentence is None:
        train(cfg)
        return
    with pytest.raises(ConfigError, match=sentence):
        train(cfg)


@pytest.mark.parametrize('loss', [dict(type='CrossEntropyLoss', use_sigmoid=True), dict(type='FocalLoss')])
def test_class_weights_of_classes_that_do_not_exclude_one_another(loss, tmp_path):
    loss['class_weight'] = [1.0] * 6
    cfg = without_validation(tiny_config(tmp_path, 'retinanet'))
    cfg.model.bbox_head.loss_cls = loss
    with pytest.raises(ConfigError, match=r'bbox_head.loss_cls.class_weight has 6 weights, .* takes 5$'):
        train(cfg)
