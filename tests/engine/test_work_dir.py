"""A work folder keeps what a training left in it, and serves one at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmdetlike.engine import launch
from mmdetlike.engine.work_dir import LOCK, sole_training
from mmdetlike.errors import ConfigError
from tests.utils import ROOT, process_settings, tiny_config, train, without_validation


def config(work_dir, **overrides):
    cfg = tiny_config(work_dir, 'retinanet', train_dataloader=dict(dataset=dict(length=4)))
    cfg.train_cfg.max_epochs = 1
    cfg.merge_from_dict(overrides)
    return without_validation(cfg)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp('finished')
    train(config(folder))
    return folder


def test_a_new_training_puts_an_earlier_one_aside(finished):
    first = (finished / 'epoch_1.pth').read_bytes()
    for number in (1, 2):
        runner, _ = train(config(finished))
        folders = sorted(finished.glob('earlier_*'))
        assert len(folders) == number
        log = (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()
        assert f'held 1 checkpoints of an earlier training, which are in {folders[-1].name} now' in log
    kept = [(folder / 'epoch_1.pth').read_bytes() for folder in folders]
    assert first in kept
    assert (finished / 'epoch_1.pth').read_bytes() not in kept
    assert all((folder / 'last_checkpoint').is_file() for folder in folders)
    assert (finished / 'last_checkpoint').read_text() == str(finished / 'epoch_1.pth')


def test_an_error_before_training_moves_nothing(finished):
    before = set(finished.glob('**/*.pth'))
    with pytest.raises(ConfigError, match='Cannot infer the rule'):
        cfg = tiny_config(finished, 'retinanet')
        cfg.default_hooks.checkpoint.save_best = 'nonsense'
        launch(cfg, 'train')
    assert set(finished.glob('**/*.pth')) == before


@pytest.mark.parametrize('own', [True, False])
def test_going_on_needs_a_checkpoint_of_the_folder(own, tmp_path):
    """Going on from another folder's checkpoint would replace the ones that are here."""
    train(config(tmp_path / 'here'))
    train(config(tmp_path / 'there'))
    source = tmp_path / ('here' if own else 'there') / 'epoch_1.pth'
    train(config(tmp_path / 'here', load_from=str(source), resume=True, train_cfg=dict(max_epochs=2)))
    assert (tmp_path / 'here' / 'epoch_2.pth').is_file()
    assert len(list((tmp_path / 'here').glob('earlier_*/epoch_1.pth'))) == (0 if own else 1)


def test_the_best_alone_is_not_resumed_nor_overwritten(tmp_path):
    (tmp_path / 'best_coco_bbox_mAP_epoch_6.pth').write_bytes(b'the best')
    with pytest.raises(ConfigError, match=r'no checkpoint of an epoch .*: go on from it with --resume .*best_coco'):
        launch(config(tmp_path, resume=True), 'train')
    assert (tmp_path / 'best_coco_bbox_mAP_epoch_6.pth').read_bytes() == b'the best'


def test_places_that_are_no_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"work_dir='s3://bucket/run' is an address"):
        launch(config('s3://bucket/run'), 'train')
    with pytest.raises(ConfigError, match=r'checkpoint\.out_dir=3: expected the path of a folder'):
        launch(config(tmp_path, default_hooks=dict(checkpoint=dict(out_dir=3))), 'train')


def test_overwrite_removes_the_earlier_checkpoints(tmp_path):
    for name in ('epoch_1.pth', 'epoch_7.pth', 'best_coco_bbox_mAP_epoch_6.pth', 'other.pth'):
        (tmp_path / name).write_bytes(b'')
    train(config(tmp_path, overwrite=True))
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth', 'other.pth']
    assert (tmp_path / 'epoch_1.pth').stat().st_size > 0
    (copy,) = tmp_path.glob('*.py')
    assert 'overwrite = False' in copy.read_text()


def test_overwrite_keeps_the_checkpoint_that_it_starts_from(finished, tmp_path):
    start = tmp_path / 'epoch_9.pth'
    start.write_bytes((finished / 'epoch_1.pth').read_bytes())
    train(config(tmp_path, overwrite=True, load_from=str(start)))
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth', 'epoch_9.pth']


def test_checkpoints_kept_elsewhere(tmp_path):
    (tmp_path / 'out' / 'run').mkdir(parents=True)
    (tmp_path / 'out' / 'run' / 'epoch_1.pth').write_bytes(b'the first')
    cfg = config(tmp_path / 'run')
    cfg.default_hooks.checkpoint.out_dir = str(tmp_path / 'out')
    train(cfg)
    (moved,) = (tmp_path / 'out' / 'run').glob('earlier_*/epoch_1.pth')
    assert moved.read_bytes() == b'the first'


HOLD = """
import sys, time
from mmdetlike.engine.work_dir import sole_training
with sole_training(sys.argv[1]):
    print('locked', flush=True)
    time.sleep(60)
"""


def test_two_trainings_at_once(tmp_path):
    settings = process_settings()
    with subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], cwd=ROOT, **settings) as other:
        try:
            assert other.stdout.readline() == 'locked\n'
            with pytest.raises(
                ConfigError, match=rf'another training is at work in .* \(process {other.pid} on .*--work'
            ):
                train(config(tmp_path))
            assert list(tmp_path.glob('*.pth')) == []
        finally:
            other.kill()
    # a killed process leaves its file, but not its lock
    assert (tmp_path / LOCK).is_file()
    train(config(tmp_path))
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_one_process_may_train_again_and_again(tmp_path):
    for _ in range(2):
        with sole_training(str(tmp_path)):
            pass


def test_testing_leaves_the_config_of_the_training(finished):
    before = {path: path.read_text() for path in finished.glob('*.py')}
    cfg = config(finished)
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.load_from = str(finished / 'epoch_1.pth')
    launch(cfg, 'test')
    assert before == {path: path.read_text() for path in finished.glob('*.py')} != {}
    copies = [path.read_text() for path in finished.glob('*/*.py')]
    assert any('train_dataloader = None' in text for text in copies)
