"""What a run writes, our own reader takes: whatever its schedulers, hooks, classes and config hold."""

import enum
import shutil
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from mmdetlike.apis import init_detector
from mmdetlike.errors import CheckpointError
from mmdetlike.utils.checkpoint import AtomicLocalBackend, plain_checkpoint, read_checkpoint, trust_checkpoints
from tests.utils import tiny_config, train, without_validation


class Stranger:
    """A class that a checkpoint may not name."""


class Size(enum.IntEnum):
    """A number by name."""

    SMALL = 1


def short_config(work_dir, **overrides):
    cfg = tiny_config(
        work_dir, train_cfg=dict(max_epochs=2), train_dataloader=dict(dataset=dict(length=8)), **overrides
    )
    cfg.model.train_cfg.rpn.sampler.num = cfg.model.train_cfg.rcnn.sampler.num = 16
    return without_validation(cfg)


ONE_CYCLE = [dict(type='OneCycleLR', eta_max=0.01, total_steps=4, by_epoch=False)]


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_one_cycle_resumes_like_an_uninterrupted_run(strategy, tmp_path):
    schedule = [dict(ONE_CYCLE[0], anneal_strategy=strategy)]
    runner, whole = train(short_config(tmp_path / 'whole', param_scheduler=schedule))
    (tmp_path / 'resumed').mkdir()
    shutil.copy(tmp_path / 'whole' / 'epoch_1.pth', tmp_path / 'resumed')
    resumed_runner, resumed = train(short_config(tmp_path / 'resumed', param_scheduler=schedule, resume=True))
    assert resumed == {i: whole[i] for i in (2, 3)}
    for key, value in runner.model.state_dict().items():
        assert value.equal(resumed_runner.model.state_dict()[key]), key


def test_one_cycle_checkpoint_of_mmengine_is_read(tmp_path):
    """It names the scheduler's static method, which is harmless."""
    path = tmp_path / 'old.pth'
    torch.save(dict(param_schedulers=[dict(anneal_func=OneCycleParamScheduler._annealing_cos)]), path)
    anneal = read_checkpoint(path)['param_schedulers'][0]['anneal_func']
    assert anneal(2.0, 4.0, 1.0) == 4.0
    torch.save(dict(param_schedulers=[dict(anneal_func=OneCycleParamScheduler.build_iter_from_epoch)]), path)
    with pytest.raises(CheckpointError, match='more than tensors'):
        read_checkpoint(path)


def test_classes_of_numpy(tmp_path):
    """Of the dataset, in meta and message hub, and of the config's text."""
    classes = tuple(np.unique(['circle', 'triangle', 'square', 'star', 'cross'])[[0, 4, 2, 3, 1]])
    assert not any(type(name) is str for name in classes)
    cfg = short_config(tmp_path)
    cfg.train_dataloader.dataset.metainfo = dict(classes=classes)
    cfg.model.roi_head.bbox_head.num_classes = np.int64(5)
    train(cfg)
    checkpoint = read_checkpoint(tmp_path / 'epoch_2.pth')
    names = ('circle', 'triangle', 'square', 'star', 'cross')
    assert checkpoint['meta']['dataset_meta']['classes'] == names
    assert {type(name) for name in checkpoint['meta']['dataset_meta']['classes']} == {str}
    assert init_detector(cfg, tmp_path / 'epoch_2.pth', device='cpu').dataset_meta['classes'] == names


class StateHook(Hook):
    """Keeps a value in the message hub, or hands it to the checkpoint at the last moment."""

    def __init__(self, value, late: bool) -> None:
        self.value, self.late = value, late

    def before_run(self, runner) -> None:
        """Keep it."""
        if not self.late:
            runner.message_hub.update_info('state', dict(parts=[1, self.value]))

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Hand it over."""
        if self.late:
            checkpoint['state'] = self.value


def test_state_that_cannot_be_stored_is_named_before_the_training(tmp_path):
    cfg = short_config(tmp_path)
    cfg.custom_hooks = [dict(type=StateHook, value=1, late=False)]
    _, losses = train(cfg)
    assert len(losses) == 4
    with pytest.raises(CheckpointError, match=r'message_hub.runtime_info.state.parts\[1\], a .*\.Stranger') as caught:
        train(short_config(tmp_path / 'other'), StateHook(Stranger(), late=False))
    assert 'weights_only' not in str(caught.value)
    assert not list((tmp_path / 'other').glob('*.pth'))


def test_late_state_that_cannot_be_stored_keeps_the_file_from_being_written(tmp_path):
    with pytest.raises(CheckpointError, match=r'Stranger'):
        train(short_config(tmp_path), StateHook(Stranger(), late=True))
    assert not [path.name for path in tmp_path.iterdir() if '.pth' in path.name]


def numpy_scalars() -> list:
    kinds = {np.dtype(kind).char for kind in np.sctypeDict.values()} - set('OV')
    return [np.zeros(1, kind)[0] for kind in sorted(kinds)]


@pytest.mark.parametrize('value', numpy_scalars(), ids=lambda value: type(value).__name__)
def test_numpy_values_are_read(value, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(scalar=value, array=np.stack([value, value])), path)
    content = read_checkpoint(path)
    np.testing.assert_array_equal(content['scalar'], value)
    np.testing.assert_array_equal(content['array'], np.stack([value, value]))
    assert content['array'].dtype == np.stack([value]).dtype


@pytest.mark.parametrize(
    'value, plain',
    [
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.complex64(1j), 1j),
        (np.str_('dog'), 'dog'),
        (np.bytes_(b'dog'), b'dog'),
        (Size.SMALL, 1),
        (Path('a/b'), 'a/b'),
        (deque([np.int64(1)], 3), [1]),
        (range(2), [0, 1]),
        (frozenset([np.str_('a')]), {'a'}),
        ({np.str_('a'): (np.str_('b'),)}, {'a': ('b',)}),
        (torch.Size([1, 2]), torch.Size([1, 2])),
        (torch.float16, torch.float16),
    ],
)
def test_what_can_be_plain_becomes_plain(value, plain):
    made = plain_checkpoint(dict(meta=dict(x=value)))['meta']['x']
    assert made == plain
    assert type(made) is type(plain)


@pytest.mark.parametrize('value', [Stranger(), print, np.array([Stranger()]), slice(1), np.ma.array([1.0])])
def test_what_cannot_is_refused_by_name(value):
    with pytest.raises(CheckpointError, match=r'would hold meta\.x\[0\], a '):
        plain_checkpoint(dict(meta=dict(x=[value])))
    with trust_checkpoints():
        assert plain_checkpoint(dict(meta=dict(x=[value])))['meta']['x'][0] is value


def test_weights_stay_as_they_are():
    weights = torch.nn.BatchNorm1d(2).state_dict()
    plain = plain_checkpoint(dict(state_dict=weights, optimizer=dict(state={0: weights['weight']})))
    assert plain['state_dict'] is weights
    assert plain['optimizer']['state'][0] is weights['weight']


def test_check_of_a_large_file_reads_no_tensor(tmp_path, monkeypatch):
    """The file is 64 MB, what the check loads is on no device."""
    loaded = []
    real = torch.load
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: loaded.append(real(*args, **kwargs)) or loaded[-1])
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=dict(x=torch.zeros(16, 2**20))), path)
    AtomicLocalBackend().put(path.read_bytes(), tmp_path / 'b.pth')
    assert [content['state_dict']['x'].device.type for content in loaded] == ['meta']
    assert (tmp_path / 'b.pth').read_bytes() == path.read_bytes()


# -- files that are no checkpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'the file is empty'),
        (b'101', "a text file that begins with '101'"),
        ('Gewichte für später'.encode(), "a text file that begins with 'Gewichte für später'"),
        (b'\n<!DOCTYPE html><html>Not found</html>', 'a web page'),
        (
            b'version https://git-lfs.github.com/spec/v1\noid sha256:0',
            'a pointer of Git LFS, not the checkpoint: fetch that by "git lfs pull"',
        ),
        (b'PK\x03\x04 and no more', 'the archive is damaged or cut short'),
        (b'\x80\x02', 'torch.save did not write it'),
        (b'\x89PNG\r\n\x1a\n\x00', 'torch.save did not write it'),
    ],
)
def test_other_files_are_told_by_their_content(content, reason, tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f'a.pth is not a readable checkpoint: .*{reason}|{reason}') as caught:
        read_checkpoint(path)
    assert 'weights_only' not in str(caught.value)
    assert 'Re-running' not in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_folder_is_told(tmp_path):
    (tmp_path / 'epoch_1.pth').touch()
    with pytest.raises(CheckpointError, match=r'is a folder; name a file in it: epoch_1\.pth'):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    'content, message',
    [
        ([1, 2], 'holds a list, not a dict of tensors by name'),
        (dict(state_dict=None), "'state_dict' must be a dict of tensors by name, got None"),
        (dict(state_dict=dict(a=1)), r'no state_dict of tensors: a \(int\) is none'),
        (dict(model=dict(), epoch=3), r'no state_dict of tensors: model \(dict\), epoch \(int\) are none'),
    ],
)
def test_checkpoints_without_weights(content, message, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=message):
        init_detector(tiny_config(tmp_path), tmp_path / 'a.pth', device='cpu')


@pytest.mark.parametrize('name', ['s3://bucket/a.pth', 'petrel://a.pth', 'cluster:s3://a.pth', 'mmcls://resnet'])
def test_schemes_of_other_clients(name, tmp_path):
    with pytest.raises(CheckpointError, match='download the file and name the local one'):
        init_detector(tiny_config(tmp_path), name, device='cpu')
