"""A run goes on with what the config says now, and tells what differs from the run of its checkpoint."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import BatchSampler

from mmdetlike.datasets.samplers import AspectRatioBatchSampler, DefaultSampler
from mmdetlike.engine.differences import compare_configs, find_differences
from mmdetlike.engine.progress import Division, Position, place
from mmdetlike.registry import LOOPS
from mmdetlike.utils.checkpoint import CheckpointError
from tests.utils import tiny_config, train, without_validation

COSINE = dict(type='CosineAnnealingLR', T_max=4, eta_min=0, by_epoch=True, begin=0, end=4)
CONVERTED = dict(type='MultiStepLR', milestones=[1, 2], gamma=0.5, by_epoch=True, convert_to_iter_based=True)
WARMUP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6)


class Watch(Hook):
    """Notes the pictures of each iteration and the learning rate with which it steps."""

    def __init__(self) -> None:
        self.pictures, self.rates = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.pictures.append([sample.img_id for sample in data_batch['data_samples']])
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])

    @property
    def order(self) -> list[int]:
        return [picture for batch in self.pictures for picture in batch]


def config(work_dir, epochs=2, by_epoch=True, **overrides):
    """Epochs of 12 pictures in 3 batches."""
    cfg = tiny_config(work_dir, 'retinanet', train_dataloader=dict(dataset=dict(length=12)), log_level='WARNING')
    cfg.train_cfg.max_epochs = epochs
    cfg.default_hooks.checkpoint.update(interval=1, by_epoch=by_epoch)
    cfg.param_scheduler = [WARMUP, dict(type='MultiStepLR', milestones=[1, 3], by_epoch=True, gamma=0.5)]
    cfg.merge_from_dict(overrides)
    return without_validation(cfg)


@pytest.fixture(scope='module')
def former(tmp_path_factory):
    """A run of one epoch, with a checkpoint at its end and one after each of its batches."""
    folder = tmp_path_factory.mktemp('former')
    train(config(folder / 'by_epoch', epochs=1))
    watch = Watch()
    train(config(folder / 'by_iter', epochs=1, by_epoch=False), watch)
    shutil.copy(folder / 'by_epoch' / 'epoch_1.pth', folder)
    for path in (folder / 'by_iter').glob('iter_*.pth'):
        shutil.copy(path, folder)
    return SimpleNamespace(folder=folder, order=watch.order)


def go_on(cfg, checkpoint, change=None):
    """Resume from a checkpoint, perhaps one that is changed before; returns runner, watch and log."""
    target = cfg.work_dir + '_from.pth'
    content = torch.load(checkpoint, weights_only=False)
    if change is not None:
        change(content)
    torch.save(content, target)
    cfg.load_from, cfg.resume = target, True
    watch = Watch()
    runner, _ = train(cfg, watch)
    (log,) = Path(runner.log_dir).glob('*.log')
    return runner, watch, log.read_text()


DIVISIONS = {
    'larger batches': (dict(batch_size=6), 2, 12),
    'smaller batches': (dict(batch_size=3), 4, 12),
    'more pictures': (dict(dataset=dict(length=16)), 4, 16),
    'fewer pictures': (dict(dataset=dict(length=8)), 2, 8),
    'incomplete batches left out': (dict(batch_size=5, drop_last=True), 2, 10),
    'batches by aspect ratio': (dict(batch_size=6, batch_sampler=dict(type='AspectRatioBatchSampler')), 2, 12),
}


def forget_progress(checkpoint) -> None:
    """As mmengine alone writes checkpoints."""
    del checkpoint['meta']['progress']


@pytest.mark.parametrize('change', [None, forget_progress])
@pytest.mark.parametrize('name', DIVISIONS)
def test_the_next_epoch_is_trained_whole_with_other_batches_or_data(name, change, former, tmp_path):
    dataloader, batches, pictures = DIVISIONS[name]
    cfg = config(tmp_path / 'run', train_dataloader=dataloader)
    runner, watch, log = go_on(cfg, former.folder / 'epoch_1.pth', change)
    assert len(watch.pictures) == batches
    assert len(set(watch.order)) == len(watch.order) == pictures
    assert (runner.epoch, runner.iter, runner.max_iters) == (2, 2 * batches, 2 * batches)
    meta = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=False)['meta']
    assert (meta['epoch'], meta['iter']) == (2, 2 * batches)
    assert 'which was trained with other settings' in log


@pytest.mark.parametrize(('batch_size', 'batches'), [(2, 4), (3, 3), (6, 2), (12, 1)])
def test_in_the_middle_of_an_epoch_other_batches_begin_after_the_samples_seen(batch_size, batches, former, tmp_path):
    cfg = config(tmp_path / 'run', epochs=1, train_dataloader=dict(batch_size=batch_size))
    runner, watch, log = go_on(cfg, former.folder / 'iter_1.pth')
    assert watch.order == former.order[4:]
    assert len(watch.pictures) == batches
    assert runner.iter == runner.max_iters
    assert f'train_dataloader.batch_size: stored 4, given {batch_size}; the given one holds' in log


def test_resumed_twice_within_an_epoch(former, tmp_path):
    cfg = config(tmp_path / 'first', epochs=1, by_epoch=False, train_dataloader=dict(batch_size=3))
    go_on(cfg, former.folder / 'iter_1.pth')
    # the second of four batches of 3, which began after 4 samples
    cfg = config(tmp_path / 'second', epochs=1, train_dataloader=dict(batch_size=3))
    _, watch, _ = go_on(cfg, tmp_path / 'first' / 'iter_2.pth')
    assert watch.order == former.order[7:]


def test_an_epoch_that_was_complete_is_not_trained_again(former, tmp_path):
    cfg = config(tmp_path / 'run', epochs=2, train_dataloader=dict(dataset=dict(length=8)))
    runner, watch, _ = go_on(cfg, former.folder / 'iter_3.pth')
    assert len(watch.order) == 8
    assert runner.epoch == 2


ANEW = {
    'more pictures': (dict(dataset=dict(length=16)), 16, 'the training set has 16 samples, the one of the checkpoint'),
    'batches by aspect ratio': (
        dict(batch_size=6, batch_sampler=dict(type='AspectRatioBatchSampler')),
        12,
        'AspectRatioBatchSampler makes other batches of other sizes',
    ),
}


@pytest.mark.parametrize('name', ANEW)
def test_an_epoch_that_cannot_go_on_begins_anew_and_says_so(name, former, tmp_path):
    dataloader, pictures, reason = ANEW[name]
    cfg = config(tmp_path / 'run', epochs=1, train_dataloader=dataloader)
    runner, watch, log = go_on(cfg, former.folder / 'iter_1.pth')
    assert sorted(watch.order) == list(range(pictures))
    assert f'epoch 1 begins anew: {reason}' in log
    assert runner.iter == runner.max_iters


SETTINGS = {
    'learning rate': dict(optim_wrapper=dict(optimizer=dict(lr=0.02))),
    'schedule': dict(param_scheduler=[COSINE]),
    'schedule converted to iterations': dict(param_scheduler=[WARMUP, CONVERTED], train_dataloader=dict(batch_size=6)),
    'no schedule': dict(param_scheduler=None),
    'settings by parameter': dict(optim_wrapper=dict(paramwise_cfg=dict(bias_lr_mult=2.0))),
    'warm-up of other batches': dict(train_dataloader=dict(batch_size=3)),
}


@pytest.mark.parametrize('name', SETTINGS)
def test_learning_rates_are_those_of_a_run_that_had_the_new_settings_from_the_start(name, former, tmp_path):
    whole = Watch()
    train(config(tmp_path / 'whole', epochs=3, **SETTINGS[name]), whole)
    cfg = config(tmp_path / 'resumed', epochs=3, **SETTINGS[name])
    _, resumed, _ = go_on(cfg, former.folder / 'epoch_1.pth')
    assert resumed.rates == whole.rates[-len(resumed.rates) :]
    assert len(resumed.rates) == len(whole.rates) * 2 // 3


class FirstStep(Hook):
    """Momentum and settings of the first parameter that has any, before anything is trained."""

    def before_train(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        self.groups = [{**group, 'params': None} for group in optimizer.param_groups]
        parameters = (parameter for group in optimizer.param_groups for parameter in group['params'])
        buffers = (optimizer.state[parameter].get('momentum_buffer') for parameter in parameters)
        self.momentum = [buffer.clone() for buffer in buffers if buffer is not None]


@pytest.mark.parametrize(
    'optimization',
    [
        dict(optimizer=dict(weight_decay=0.25)),
        dict(paramwise_cfg=dict(norm_decay_mult=0.0), optimizer=dict(weight_decay=0.25)),
    ],
)
def test_new_settings_and_old_momentum(optimization, former, tmp_path):
    cfg = config(tmp_path, load_from=str(former.folder / 'epoch_1.pth'), resume=True, optim_wrapper=optimization)
    first = FirstStep()
    train(cfg, first)
    decays = {group['weight_decay'] for group in first.groups}
    assert decays == ({0.25, 0.0} if 'paramwise_cfg' in optimization else {0.25})
    stored = torch.load(former.folder / 'epoch_1.pth', weights_only=False)['optimizer']['state']
    expected = [state['momentum_buffer'] for _, state in sorted(stored.items()) if 'momentum_buffer' in state]
    assert len(first.momentum) == len(expected) > 10
    assert all(torch.equal(*pair) for pair in zip(first.momentum, expected))


def test_a_longer_training_goes_on_with_its_schedule(former, tmp_path):
    """Schedules end with the training unless they say otherwise: the stored end must not hold."""
    cfg = config(tmp_path / 'run', epochs=5)
    _, watch, log = go_on(cfg, former.folder / 'epoch_1.pth')
    # warm-up until the sixth iteration; halved at the first and the third epoch
    assert watch.rates[-9:] == pytest.approx([0.01 / 2] * 3 + [0.01 / 4] * 6)
    told = 'train_cfg.max_epochs: stored 1, given 5; the given one holds (for the stored one: --cfg-options'
    assert f'{told} train_cfg.max_epochs=1)' in log


def test_differences_are_one_block_with_a_line_each(former, tmp_path):
    overrides = dict(optim_wrapper=dict(optimizer=dict(lr=0.5)), randomness=dict(seed=5))
    cfg = config(tmp_path / 'run', **overrides, custom_hooks=[dict(type='EMAHook')])
    _, _, log = go_on(cfg, former.folder / 'epoch_1.pth')
    (block,) = re.findall(r'which was trained with other settings:\n((?:    .*\n)+)', log)
    assert [line.split(':')[0].strip() for line in block.splitlines()] == [
        'optim_wrapper.optimizer.lr',
        'train_cfg.max_epochs',
        'custom_hooks',
        'randomness.seed',
    ]
    assert 'lr: stored 0.01, given 0.5; the given one holds (for the stored one: --cfg-options' in block
    assert 'seed: stored 0, given 5; the stored one holds (for another, start a new run' in block


def test_nothing_is_told_where_nothing_differs(former, tmp_path):
    _, _, log = go_on(config(tmp_path / 'run', epochs=1), former.folder / 'iter_1.pth')
    assert 'other settings' not in log


def test_a_checkpoint_without_config(former, tmp_path):
    cfg = config(tmp_path / 'run', optim_wrapper=dict(optimizer=dict(lr=0.5)))
    _, watch, log = go_on(cfg, former.folder / 'epoch_1.pth', lambda checkpoint: checkpoint['meta'].pop('cfg'))
    assert 'does not hold the config of its run as plain text: all settings are those given now' in log
    assert watch.rates[-1] == pytest.approx(0.5 * 0.5 * (0.1 + 0.9 * 5 / 5))


def test_a_finished_run_says_that_nothing_is_left(former, tmp_path):
    _, watch, log = go_on(config(tmp_path / 'run', epochs=1), former.folder / 'epoch_1.pth')
    assert watch.rates == []
    assert 'nothing is left to train: train_cfg.max_epochs is 1' in log


def test_another_optimizer_is_refused(former, tmp_path):
    cfg = config(tmp_path / 'run')
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=0.1)
    sentence = (
        r"holds the state of optimizer 'SGD', but the config says optim_wrapper.optimizer.type='AdamW', which cannot "
        r"go on from it: keep 'SGD', or start a new run from the weights with load_from="
    )
    with pytest.raises(CheckpointError, match=sentence):
        go_on(cfg, former.folder / 'epoch_1.pth')


def test_optimizer_state_of_other_parameters_is_refused(former, tmp_path):
    def cut(checkpoint):
        checkpoint['optimizer']['param_groups'][0]['params'].pop()

    cfg = config(tmp_path / 'run', optim_wrapper=dict(optimizer=dict(lr=0.5)))
    with pytest.raises(CheckpointError, match=r'optimizer state of .* parameters that are not the .* of optim_wrapper'):
        go_on(cfg, former.folder / 'epoch_1.pth', cut)


def test_a_schedule_by_scores_cannot_be_changed(former, tmp_path):
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss', rule='less')]
    cfg = config(tmp_path / 'run', param_scheduler=plateau)
    with pytest.raises(CheckpointError, match='ReduceOnPlateauLR follows the scores of past epochs'):
        go_on(cfg, former.folder / 'epoch_1.pth')


def test_weights_without_optimizer_state_start_momentum_anew_and_say_so(former, tmp_path):
    def as_best(checkpoint):
        del checkpoint['optimizer'], checkpoint['param_schedulers']

    _, watch, log = go_on(config(tmp_path / 'run'), former.folder / 'epoch_1.pth', as_best)
    assert 'holds no state of the optimizer, as best_*.pth do: momentum starts anew' in log
    assert watch.rates[0] == pytest.approx(0.5 * 0.01 * (0.1 + 0.9 * 3 / 5))


def test_iterations_go_on_after_the_samples_seen(tmp_path):
    """A run that counts iterations goes on with the next one, and with the pictures that come next."""
    by_iter = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=100)
    overrides = dict(by_epoch=False, train_dataloader=dict(sampler=dict(type='InfiniteSampler')))
    whole = Watch()
    cfg = config(tmp_path / 'whole', **overrides)
    cfg.train_cfg = by_iter
    train(cfg, whole)
    cfg = config(tmp_path / 'run', **overrides)
    cfg.train_cfg = dict(by_iter, max_iters=7)
    cfg.train_dataloader.batch_size = 2
    runner, watch, _ = go_on(cfg, tmp_path / 'whole' / 'iter_3.pth')
    assert watch.order == whole.order[12:20]
    assert runner.iter == 7


@LOOPS.register_module()
class ForeignLoop(EpochBasedTrainLoop):
    """mmengine's own, as people subclass it."""


def test_loops_of_others_save_and_resume_as_they_did(tmp_path):
    foreign = dict(train_cfg=dict(type='ForeignLoop'))
    train(config(tmp_path / 'run', epochs=1, **foreign))
    assert 'progress' not in torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['meta']
    _, watch, log = go_on(config(tmp_path / 'again', epochs=2, **foreign), tmp_path / 'run' / 'epoch_1.pth')
    assert len(watch.pictures) == 3
    assert 'ForeignLoop counts no samples: resuming by the stored settings' in log


def test_no_checkpoint_can_be_read(tmp_path):
    (tmp_path / 'epoch_1.pth').write_bytes(b'half')
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    cfg = config(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r'none of the 2 checkpoints in .*: .*epoch_[12].pth is not a readable'):
        train(cfg)
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'half'


def loader(size, batch_size, batch_sampler=BatchSampler, drop_last=False, world_size=1, monkeypatch=None):
    """Batches of one of several processes."""
    monkeypatch.setattr('mmdetlike.datasets.samplers.get_dist_info', lambda: (0, world_size))
    monkeypatch.setattr('mmdetlike.engine.progress.get_world_size', lambda: world_size)
    sampler = DefaultSampler(range(size), seed=0)
    return torch.utils.data.DataLoader(range(size), batch_sampler=batch_sampler(sampler, batch_size, drop_last))


@pytest.mark.parametrize(
    ('before', 'now', 'position', 'expected'),
    [
        # (samples, samples of a batch, processes)
        ((16, 4, 1), (16, 4, 2), Position(1, 1, 4), Position(1, 0, 4)),  # 12 are left, both batches of 8
        ((16, 2, 4), (16, 4, 1), Position(1, 1, 8), Position(1, 2, 8)),
        ((16, 2, 1), (16, 2, 4), Position(0, 3, 6), Position(0, 0, 4)),  # two are seen twice, none is lost
        ((15, 2, 2), (15, 4, 1), Position(3, 4, 16), Position(3, 4, 15)),
        ((16, 4, 1), (12, 4, 2), Position(2, 0, 0), Position(2, 0, 0)),
    ],
)
def test_positions_with_other_processes(before, now, position, expected, monkeypatch):
    former_division = Division.of(loader(*before[:2], world_size=before[2], monkeypatch=monkeypatch))
    dataloader = loader(*now[:2], world_size=now[2], monkeypatch=monkeypatch)
    assert place(position, former_division, dataloader) == (expected, '')


def test_batches_by_aspect_ratio_go_on_only_as_they_were(monkeypatch):
    dataloader = loader(16, 4, AspectRatioBatchSampler, monkeypatch=monkeypatch)
    division = Division.of(dataloader)
    assert place(Position(0, 2, 8), division, dataloader) == (Position(0, 2, 8), '')
    halved = loader(16, 2, AspectRatioBatchSampler, monkeypatch=monkeypatch)
    assert place(Position(0, 2, 8), division, halved) == (
        Position(0, 0, 0),
        'AspectRatioBatchSampler makes other batches of other sizes',
    )


@pytest.mark.parametrize(
    ('stored', 'given', 'keys'),
    [
        (dict(a=(1, 2)), dict(a=[1, 2]), []),
        (dict(a=None), {}, []),
        (dict(a=dict(b=1)), dict(a=dict(b=2, c=3)), ['a.b', 'a.c']),
        (dict(a=[dict(b=1), 5]), dict(a=[dict(b=2), 5]), ['a.0.b']),
        (dict(a=[1]), dict(a=[1, 2]), ['a']),
        (dict(a=float('nan')), dict(a=float('nan')), []),
        (dict(a=1), dict(a=True), ['a']),
    ],
)
def test_differences_of_configs(stored, given, keys):
    assert [difference.key for difference in find_differences(stored, given)] == keys


def test_configs_are_compared_by_what_their_text_says(tmp_path):
    text = Config(dict(optim_wrapper=dict(optimizer=dict(lr=0.1)), model=dict(a=1))).pretty_text
    other = Config(dict(optim_wrapper=dict(optimizer=dict(lr=0.2)), model=dict(a=2))).pretty_text
    assert [str(d.key) for d in compare_configs(text, other)] == ['optim_wrapper.optimizer.lr']
    assert compare_configs('import os\nx = os.getcwd()', other) is None
    assert compare_configs('(', other) is None
    assert compare_configs(None, other) is None


@pytest.mark.parametrize(
    'stored, given, way_back',
    [
        (0.1, 0.2, '(for the stored one: --cfg-options train_cfg.x=0.1)'),
        ([1, 'a b'], 3, """(for the stored one: --cfg-options 'train_cfg.x=[1, '"'"'a b'"'"']')"""),
        (None, True, '(leave it out for the default, as before)'),
        (['a' * 200], None, '(the stored one is in the copy of the config in the folder of that run)'),
    ],
)
def test_the_way_back_can_be_typed(stored, given, way_back):
    (difference,) = find_differences(dict(x=stored), dict(x=given), 'train_cfg')
    assert str(difference).endswith(f'the given one holds {way_back}')
