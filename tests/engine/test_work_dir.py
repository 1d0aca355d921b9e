"""A work folder keeps what a training left in it, and serves one at a time."""

import subprocess
import sys

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


def contents(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


def test_a_new_training_does_not_touch_a_finished_one(finished):
    before = contents(finished)
    with pytest.raises(
        ConfigError,
        match=r'holds checkpoints of an earlier training \(epoch_1.pth\): go on from them with --resume, choose '
        r'another folder with --work-dir, or have them removed with --overwrite',
    ):
        launch(config(finished), 'train')
    assert contents(finished) == before
    with pytest.raises(ConfigError, match='holds checkpoints of an earlier training'):
        train(config(finished))
    assert (finished / 'epoch_1.pth').stat().st_mtime_ns == before[finished / 'epoch_1.pth']


@pytest.mark.parametrize('resumed', [True, False])
def test_going_on_needs_a_checkpoint_of_the_folder(resumed, finished, tmp_path):
    """Going on from another folder's checkpoint would overwrite the ones that are here."""
    (tmp_path / 'epoch_1.pth').write_bytes((finished / 'epoch_1.pth').read_bytes())
    source = finished if resumed else tmp_path
    cfg = config(finished, load_from=str(source / 'epoch_1.pth'), resume=True)
    if resumed:
        train(cfg)
        return
    with pytest.raises(ConfigError, match='holds checkpoints of an earlier training'):
        train(cfg)


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
    (tmp_path / 'out' / 'run' / 'epoch_1.pth').write_bytes(b'')
    cfg = config(tmp_path / 'run')
    cfg.default_hooks.checkpoint.out_dir = str(tmp_path / 'out')
    with pytest.raises(ConfigError, match=r'out/run holds checkpoints of an earlier training'):
        launch(cfg, 'train')


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
