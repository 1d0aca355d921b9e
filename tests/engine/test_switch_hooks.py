"""The training side of YOLOX and RTMDet: switching data late in a run, averages, quadratic warm-up."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmdetlike.engine.hooks import PipelineSwitchHook, SyncNormHook, YOLOXModeSwitchHook
from mmdetlike.engine.hooks.switch_hooks import with_pipeline
from mmdetlike.engine.schedulers import QuadraticWarmupLR, QuadraticWarmupMomentum
from mmdetlike.errors import ConfigError
from tests.utils import tiny_config, train, without_validation

LOAD = [dict(type='LoadShapesImage'), dict(type='LoadAnnotations', with_bbox=True)]
PACK = dict(type='PackDetInputs')
MIX = [
    dict(type='Mosaic', img_scale=(64, 64)),
    dict(type='RandomAffine', border=(-32, -32)),
    dict(type='MixUp', img_scale=(64, 64)),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    PACK,
]
EMA = dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, update_buffers=True, priority=49)
PARTS = dict(
    yolox=(
        dict(type='YOLOXHead', num_classes=5, in_channels=16, feat_channels=16, stacked_convs=1),
        dict(assigner=dict(type='SimOTAAssigner')),
    ),
    rtmdet=(
        dict(type='RTMDetSepBNHead', num_classes=5, in_channels=16, feat_channels=16, stacked_convs=1),
        dict(assigner=dict(type='DynamicSoftLabelAssigner'), allowed_border=-1, pos_weight=-1),
    ),
)


class Witness(Hook):
    """Notes in each epoch the names of loss terms and how many boxes an image has."""

    def __init__(self):
        self.terms, self.counts = {}, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Note."""
        self.terms[runner.epoch] = set(outputs)
        self.counts.setdefault(runner.epoch, []).extend(len(s.gt_instances) for s in data_batch['data_samples'])


def config(work_dir, kind, workers=0, **overrides):
    cfg = tiny_config(work_dir, model='retinanet', custom_hooks=[EMA])
    head, train_cfg = PARTS[kind]
    cfg.model.type = dict(yolox='YOLOX', rtmdet='RTMDet')[kind]
    cfg.model.bbox_head, cfg.model.train_cfg = head, train_cfg
    cfg.train_dataloader.update(num_workers=workers, persistent_workers=workers > 0)
    cfg.merge_from_dict(overrides)
    return without_validation(cfg)


@pytest.mark.parametrize('workers', [0, 1])
def test_yolox_ends_without_mosaics_and_with_l1(tmp_path, workers):
    cfg = config(tmp_path, 'yolox', workers, train_cfg=dict(max_epochs=3))
    inner = dict(cfg.train_dataloader.dataset, pipeline=LOAD)
    cfg.train_dataloader.dataset = dict(type='MultiImageMixDataset', dataset=inner, pipeline=MIX)
    cfg.custom_hooks.append(dict(type='YOLOXModeSwitchHook', num_last_epochs=1, priority=48))
    cfg.custom_hooks.append(dict(type='SyncNormHook', priority=48))
    cfg.param_scheduler = [dict(type='QuadraticWarmupLR', begin=0, end=1, convert_to_iter_based=True)]
    witness = Witness()
    _, losses = train(cfg, witness)
    assert ['loss_l1' in witness.terms[epoch] for epoch in range(3)] == [False, False, True]
    means = [sum(counts) / len(counts) for counts in witness.counts.values()]
    # pictures have three objects at most, mosaics and what is mixed in bring more
    assert max(witness.counts[0] + witness.counts[1]) > 3 >= max(witness.counts[2]) and means[2] < means[0]
    assert all(torch.isfinite(torch.tensor(terms['loss'])) for terms in losses.values())


@pytest.mark.parametrize('workers', [0, 1])
def test_rtmdet_switches_its_pipeline(tmp_path, workers):
    cfg = config(tmp_path, 'rtmdet', workers)
    mosaic = dict(type='CachedMosaic', img_scale=(64, 64), max_cached_images=4)
    cfg.train_dataloader.dataset.pipeline = [*LOAD, mosaic, dict(type='Resize', scale=(64, 64)), PACK]
    cfg.custom_hooks.append(dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[*LOAD, PACK]))
    witness = Witness()
    train(cfg, witness)
    assert max(witness.counts[0]) > 3 >= max(witness.counts[1])


def test_resumed_among_the_last_epochs(tmp_path):
    cfg = config(tmp_path, 'rtmdet', train_cfg=dict(max_epochs=3))
    cfg.custom_hooks.append(dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[*LOAD, PACK]))
    cfg.train_dataloader.dataset.pipeline = [*LOAD, dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)), PACK]
    _, whole = train(cfg)
    cfg.resume, cfg.load_from = True, str(tmp_path / 'epoch_2.pth')
    _, resumed = train(cfg)
    assert sorted(resumed) == sorted(whole)[8:] and resumed == {i: whole[i] for i in resumed}


class FakeRunner:
    """What the hooks look at."""

    def __init__(self, dataset, epoch=5, max_epochs=6):
        self.epoch, self.max_epochs, self.model = epoch, max_epochs, torch.nn.BatchNorm1d(2)
        self.train_dataloader = torch.utils.data.DataLoader(dataset)
        self.logger = self

    def info(self, message):
        """Say nothing."""


def test_training_sets_that_cannot_switch():
    with pytest.raises(ConfigError, match='YOLOXModeSwitchHook needs a MultiImageMixDataset as training set, got list'):
        YOLOXModeSwitchHook().before_train_epoch(FakeRunner([1]))
    with pytest.raises(ConfigError, match='needs a training set with a pipeline, got list'):
        PipelineSwitchHook(0, [PACK]).before_train_epoch(FakeRunner([1]))
    YOLOXModeSwitchHook(num_last_epochs=1).before_train_epoch(FakeRunner([1], epoch=4))  # not yet
    SyncNormHook().before_val_epoch(FakeRunner([1]))  # one process: nothing to do


def test_pipelines_inside_wrappers():
    class Inner:
        pipeline = None

    class Outer:
        def __init__(self, **inner):
            self.__dict__.update(inner)

    a, b = Inner(), Inner()
    assert with_pipeline(Outer(dataset=Outer(datasets=[a, Outer(dataset=b)]))) == [a, b]


@pytest.mark.parametrize(('cls', 'name'), [(QuadraticWarmupLR, 'lr'), (QuadraticWarmupMomentum, 'momentum')])
def test_quadratic_warmup(cls, name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8, momentum=0.8)
    scheduler = cls(optimizer, begin=1, end=5)
    seen = []
    for _ in range(7):
        seen.append(optimizer.param_groups[0][name])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([0.8, 0.05, 0.2, 0.45, 0.8, 0.8, 0.8])


def test_quadratic_warmup_by_iterations_and_bad_input():
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    scheduler = QuadraticWarmupLR.build_iter_from_epoch(wrapper, begin=0, end=2, epoch_length=5)
    assert (scheduler.begin, scheduler.end, scheduler.by_epoch) == (0, 10, False)
    assert wrapper.param_groups[0]['lr'] == pytest.approx(0.01)
    with pytest.raises(ConfigError, match='needs begin < end'):
        QuadraticWarmupLR(wrapper, begin=3)
    with pytest.raises(ConfigError, match='epoch_length must be a positive'):
        QuadraticWarmupLR.build_iter_from_epoch(wrapper, end=2)
