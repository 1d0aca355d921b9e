"""A resumed run goes on as if it had never stopped: its losses equal the uninterrupted run's bit for bit."""

import copy
import shutil
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from tests.utils import tiny_config, train, without_validation

BATCHES = 3  # of an epoch
DATA = dict(dataset=dict(length=12))
BY_ITER = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=100, _delete_=True)
CASES = {
    'epoch border': (dict(default_hooks=dict(checkpoint=dict(interval=1))), 'epoch_1.pth', 3),
    'middle of an epoch': ({}, 'iter_4.pth', 4),
    'middle of the first epoch': ({}, 'iter_1.pth', 1),
    'saved by iterations at an epoch border': ({}, 'iter_3.pth', 3),
    'last batch is small': (dict(train_dataloader=dict(dataset=dict(length=11))), 'iter_3.pth', 3),
    'two workers': (dict(train_dataloader=dict(num_workers=2, persistent_workers=True)), 'iter_4.pth', 4),
    'no seed in the config': (dict(randomness=dict(seed=None)), 'iter_2.pth', 2),
    'EMA': (dict(custom_hooks=[dict(type='EMAHook', momentum=0.1)]), 'iter_4.pth', 4),
    'mixed precision': (dict(optim_wrapper=dict(type='AmpOptimWrapper')), 'iter_4.pth', 4),
    'endless sampler': (
        dict(train_cfg=BY_ITER, train_dataloader=dict(sampler=dict(type='InfiniteSampler'))),
        'iter_5.pth',
        5,
    ),
    'iterations over epochs': (dict(train_cfg=BY_ITER), 'iter_5.pth', 5),
    'batches by aspect ratio': (
        dict(train_dataloader=dict(batch_sampler=dict(type='AspectRatioBatchSampler'))),
        'iter_4.pth',
        4,
    ),
    'iterations over batches by aspect ratio': (
        dict(train_cfg=BY_ITER, train_dataloader=dict(batch_sampler=dict(type='AspectRatioBatchSampler'))),
        'iter_5.pth',
        5,
    ),
}


def config(work_dir: Path, overrides: dict):
    by_epoch = 'checkpoint' in overrides.get('default_hooks', {})
    cfg = tiny_config(work_dir, train_dataloader=DATA, train_cfg=dict(max_epochs=2))
    cfg.default_hooks.checkpoint.update(interval=1, by_epoch=by_epoch)
    # few samples, so that it matters which are drawn, and schedulers and momentum that have a state
    cfg.model.train_cfg.rcnn.sampler.num = 8
    cfg.model.train_cfg.rpn.sampler.num = 16
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6),
        dict(type='MultiStepLR', milestones=[1], by_epoch=True, gamma=0.5),
    ]
    cfg.merge_from_dict(copy.deepcopy(overrides))
    return without_validation(cfg)


@pytest.mark.parametrize('name', CASES)
def test_losses_equal_those_of_the_uninterrupted_run(name, tmp_path):
    overrides, checkpoint, done = CASES[name]
    runner, whole = train(config(tmp_path / 'whole', overrides))
    (tmp_path / 'resumed').mkdir()
    shutil.copy(tmp_path / 'whole' / checkpoint, tmp_path / 'resumed')
    cfg = config(tmp_path / 'resumed', overrides)
    cfg.resume = True
    resumed_runner, resumed = train(cfg)
    assert sorted(resumed) == list(range(done, len(whole)))
    assert resumed == {i: whole[i] for i in resumed}
    for key, value in runner.model.state_dict().items():
        assert value.equal(resumed_runner.model.state_dict()[key]), key
    assert resumed_runner.seed == runner.seed


def test_samples_of_an_epoch_are_seen_once_whatever_was_resumed(tmp_path):
    seen = []

    class Collect(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            seen.extend(sample.img_id for sample in data_batch['data_samples'])

    train(config(tmp_path, {}), Collect())
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]
    whole = list(seen)
    seen.clear()
    for path in tmp_path.glob('iter_[3456].pth'):
        path.unlink()
    again = config(tmp_path, {})
    again.resume = True
    train(again, Collect())
    assert seen == whole[8:]


def test_without_seed_two_runs_differ(tmp_path):
    """Otherwise the case without a seed would prove nothing."""
    overrides = CASES['no seed in the config'][0]
    losses = [train(config(tmp_path / str(i), overrides))[1] for i in range(2)]
    assert losses[0] != losses[1]
