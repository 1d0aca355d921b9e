"""Runs that are stopped from outside: one sentence, a status that tells the signal, and what was saved."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdetlike.engine.stopping import saved_training, stoppable
from tests.utils import ROOT, process_settings, tiny_config, without_validation


@pytest.mark.parametrize(
    'number, status, sentence',
    [(signal.SIGINT, 130, 'interrupted; all is well\n'), (signal.SIGTERM, 143, 'terminated; all is well\n')],
)
def test_a_signal_ends_with_a_sentence_and_its_status(number, status, sentence, capsys, monkeypatch):
    monkeypatch.setenv('MMDETLIKE_DEBUG', '0')
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
    cleaned = []
    try:
        with pytest.raises(SystemExit) as caught, stoppable(lambda: 'all is well'):
            try:
                signal.raise_signal(number)
            finally:
                cleaned.append(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert caught.value.code == status
    assert capsys.readouterr().err == sentence
    assert cleaned == [number]


def test_debug_shows_where_a_run_was_stopped(monkeypatch):
    monkeypatch.setenv('MMDETLIKE_DEBUG', '1')
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stoppable(lambda: ''):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_training_has_saved(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    assert saved_training(cfg, 0) == 'no checkpoint had been saved yet'
    for name, moment in (('epoch_1.pth', 100), ('epoch_2.pth', 200), ('best_epoch_9.pth', 300), ('other.pth', 400)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (moment, moment))
    assert saved_training(cfg, 150).startswith(f'the newest checkpoint is {tmp_path}/epoch_2.pth: go on from it with')
    # those of an earlier training, which this one was to overwrite
    assert saved_training(cfg, 250) == 'no checkpoint had been saved yet'
    assert 'epoch_2.pth' in saved_training(Config(dict(work_dir=str(tmp_path), resume=True)), 250)


def stopped(number: int, command: list, wait_for: Path, with_children: bool) -> tuple[int, str]:
    """The status and the last line of stderr of a process to which a signal is sent once a file is there."""
    settings = process_settings() | dict(start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process = subprocess.Popen([str(part) for part in command], **settings)
    deadline = time.time() + 120
    while not wait_for.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.1)
    (os.killpg if with_children else os.kill)(process.pid, number)
    errors = process.communicate(timeout=120)[1]
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    'number, with_children, status, word',
    [
        (signal.SIGINT, True, 130, 'interrupted'),  # as Ctrl-C in a terminal, which the loading processes get, too
        (signal.SIGTERM, False, 143, 'terminated'),
        (signal.SIGTERM, True, 143, 'terminated'),
    ],
)
def test_a_training_that_is_stopped_says_what_it_has_saved(number, with_children, status, word, tmp_path):
    cfg = without_validation(tiny_config(tmp_path / 'w', 'retinanet', train_cfg=dict(max_epochs=500)))
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
    cfg.dump(tmp_path / 'c.py')
    command = [sys.executable, ROOT / 'tools/train.py', tmp_path / 'c.py', '--work-dir', tmp_path / 'w']
    code, errors = stopped(number, command, tmp_path / 'w' / 'epoch_2.pth', with_children)
    assert code == status
    assert 'Traceback' not in errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f'{word}; the newest checkpoint is {tmp_path}/w/epoch_')
    assert Path(last.split('checkpoint is ')[1].split(': ')[0]).is_file()


@pytest.mark.slow
def test_several_processes_that_are_stopped_end_without_a_traceback(tmp_path):
    cfg = without_validation(tiny_config(tmp_path / 'w', 'retinanet', train_cfg=dict(max_epochs=500)))
    cfg.dump(tmp_path / 'c.py')
    torchrun = [sys.executable, ROOT / 'tools/distributed_run.py', '--standalone', '--nproc-per-node=2']
    train = [ROOT / 'tools/train.py', tmp_path / 'c.py', '--work-dir', tmp_path / 'w', '--launcher', 'pytorch']
    code, errors = stopped(signal.SIGTERM, [*torchrun, *train], tmp_path / 'w' / 'epoch_2.pth', False)
    assert code == 143
    assert 'Traceback' not in errors
    assert errors.count('terminated; the newest checkpoint is') == 1
