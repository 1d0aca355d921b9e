"""Whatever stops a run - a kill, a full disk, a NaN - its last whole checkpoint stays and can be gone on from."""

import errno
import math
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.hooks import Hook

from mmdetlike.engine.hooks.checks import InvalidLossError
from mmdetlike.utils.checkpoint import AtomicLocalBackend, CheckpointError, find_latest_checkpoint, read_checkpoint
from tests.utils import ROOT, process_settings, python, tiny_config, train, without_validation


def config(work_dir, iters=4, **overrides):
    """A run that saves after each iteration and keeps one checkpoint."""
    cfg = without_validation(tiny_config(work_dir))
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=10**6)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=1, max_keep_ckpts=1)
    cfg.merge_from_dict(overrides)
    return cfg


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith('.tmp')]


def test_one_checkpoint_is_kept(tmp_path):
    train(config(tmp_path))
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_4.pth']
    assert leftovers(tmp_path) == []
    assert (tmp_path / 'iter_4.pth').stat().st_mode & 0o444 == 0o444


def wait_for(condition, seconds: float) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, 'waited too long'
        time.sleep(0.002)


@pytest.mark.parametrize('kills', [3, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_at_any_moment(kills, tmp_path):
    """Each start goes on from what the last kill left; the random moments differ from run to run on purpose."""
    work_dir = tmp_path / 'run'
    cfg = config(work_dir, iters=10**6, log_level='ERROR')
    cfg.dump(tmp_path / 'config.py')
    command = [sys.executable, '-c', FAST_TRAIN, str(tmp_path / 'config.py'), '--resume']
    settings = process_settings() | dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    iterations = [0]
    for _ in range(kills):
        process = subprocess.Popen(command, **settings)
        try:
            wait_for(lambda: (work_dir / f'iter_{iterations[-1] + 2}.pth').exists(), 120)
            time.sleep(random.uniform(0, 0.4))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        latest = find_latest_checkpoint(work_dir)
        assert latest is not None
        iterations.append(read_checkpoint(latest)['meta']['iter'])
        assert iterations[-1] > iterations[-2]
    cfg = config(work_dir, iters=iterations[-1] + 2, resume=True)
    _, losses = train(cfg)
    assert sorted(losses) == [iterations[-1], iterations[-1] + 1]
    assert leftovers(work_dir) == []


def test_what_a_killed_run_had_written_is_removed(tmp_path):
    half = tmp_path / '.iter_9.pth.abc.tmp'
    half.write_bytes(b'half')
    train(config(tmp_path, iters=1))
    assert not half.exists()


# the tool, less the formatting of configs, which would take most of the time between two checkpoints
FAST_TRAIN = f"""
import runpy, sys
import mmengine.config.config as module
module.FormatCode = lambda text, **_: (text, False)
sys.path.insert(0, {str(ROOT)!r})
sys.argv = ['train.py', *sys.argv[1:]]
runpy.run_path({str(ROOT / 'tools' / 'train.py')!r}, run_name='__main__')
"""


def test_empty_last_checkpoint_and_half_written_file(tmp_path):
    train(config(tmp_path, iters=2))
    whole = (tmp_path / 'iter_2.pth').read_bytes()
    (tmp_path / 'last_checkpoint').write_text('')
    (tmp_path / 'iter_3.pth').write_bytes(whole[: len(whole) // 2])
    _, losses = train(config(tmp_path, iters=4, resume=True))
    assert sorted(losses) == [2, 3]


def test_moved_folder(tmp_path):
    train(config(tmp_path / 'here', iters=2))
    (tmp_path / 'here').rename(tmp_path / 'there')
    _, losses = train(config(tmp_path / 'there', iters=3, resume=True))
    assert sorted(losses) == [2]
    assert not (tmp_path / 'here').exists()


def full_disk(monkeypatch, after: int) -> None:
    """Let all synchronised writes but the first ``after`` fail as on a full disk."""
    calls = []
    real = os.fsync

    def fsync(handle):
        calls.append(handle)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, 'fsync', fsync)


def test_full_disk_leaves_the_older_content(tmp_path, monkeypatch):
    backend, path = AtomicLocalBackend(), tmp_path / 'a' / 'b.txt'
    backend.put_text('old', path)
    full_disk(monkeypatch, after=0)
    with pytest.raises(CheckpointError, match=r'could not write 3 bytes to .*b.txt: No space left on device'):
        backend.put_text('new', path)
    assert path.read_text() == 'old'
    assert leftovers(path.parent) == []


def test_full_disk_while_a_run_saves(tmp_path, monkeypatch):
    full_disk(monkeypatch, after=4)  # a file and its folder for each of two checkpoints
    with pytest.raises(CheckpointError, match=r'iter_3.pth: No space left on device. Nothing that was there'):
        train(config(tmp_path))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'iter_2.pth')
    assert leftovers(tmp_path) == []
    _, losses = train(config(tmp_path, resume=True))
    assert sorted(losses) == [2, 3]


def test_file_size_limit_in_the_tool(tmp_path):
    """The operating system's own refusal, in the middle of a write."""
    config(tmp_path / 'run', iters=1).dump(tmp_path / 'config.py')
    code = 'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n'
    code += 'import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n' + FAST_TRAIN
    done = python('-c', code, tmp_path / 'config.py')
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert last.startswith('CheckpointError: could not write')
    assert 'Traceback' not in done.stderr
    assert list((tmp_path / 'run').glob('*.pth')) == []
    assert leftovers(tmp_path / 'run') == []


class Poison(Hook):
    """Makes a weight NaN before an iteration."""

    def __init__(self, iteration: int, name: str) -> None:
        self.iteration, self.name = iteration, name

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.iteration:
            with torch.no_grad():
                runner.model.get_parameter(self.name).fill_(math.nan)


def test_nan_loss_stops_before_it_is_saved(tmp_path):
    with pytest.raises(InvalidLossError) as caught:
        train(config(tmp_path), Poison(2, 'roi_head.bbox_head.fc_cls.bias'))
    message = str(caught.value)
    assert 'not finite at iteration 3 (' in message
    assert 'loss_cls=nan' in message
    assert 'loss_rpn_cls' not in message
    assert message.count('shapes_train_0_') == 4  # the images of the batch
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']
    weights = read_checkpoint(tmp_path / 'iter_2.pth')['state_dict']
    assert all(torch.isfinite(value).all() for value in weights.values())
