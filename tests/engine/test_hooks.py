"""Hooks: which checkpoints are kept, when a run stops, what it leaves behind."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub

from mmdetlike.engine.hooks import SetEpochInfoHook
from mmdetlike.engine.hooks.checkpoint_hook import DeferredRemoval
from mmdetlike.registry import METRICS
from mmdetlike.utils.checkpoint import read_checkpoint
from tests.utils import LossRecorder, tiny_config, train, without_validation


@METRICS.register_module()
class ScriptedMetric:
    """Scores that a test wrote down."""

    scores: list[float] = []
    dataset_meta = None

    def __init__(self) -> None:
        self.left = list(self.scores)

    def process(self, data_samples, data_batch) -> None:
        """Look at nothing."""

    def evaluate(self, size: int) -> dict[str, float]:
        """The next score, once as one to raise and once as one to lower."""
        score = self.left.pop(0)
        return {'score': score, 'cost': score}


def scripted(work_dir, monkeypatch, scores, **overrides):
    """A run with an epoch for each of ``scores``."""
    monkeypatch.setattr(ScriptedMetric, 'scores', scores)
    cfg = tiny_config(work_dir, train_cfg=dict(max_epochs=len(scores)), train_dataloader=dict(dataset=dict(length=4)))
    cfg.val_dataloader.dataset.length = 4
    cfg.val_evaluator = dict(type='ScriptedMetric')
    cfg.merge_from_dict(overrides)
    return cfg


class RemovalWitness(Hook):
    """At each removal, notes which checkpoints are there."""

    def __init__(self, folder, monkeypatch) -> None:
        self.seen = []
        real = DeferredRemoval.flush

        def flush(deferred, keep):
            if deferred._pending:
                self.seen.append(sorted(path.name for path in folder.glob('best_*.pth')))
            real(deferred, keep)

        monkeypatch.setattr(DeferredRemoval, 'flush', flush)


def test_save_best_keeps_the_best_and_removes_the_former_afterwards(tmp_path, monkeypatch):
    witness = RemovalWitness(tmp_path, monkeypatch)
    cfg = scripted(tmp_path, monkeypatch, [0.1, 0.5, 0.3, 0.6])
    cfg.default_hooks.checkpoint.update(save_best='score', rule='greater', max_keep_ckpts=1)
    train(cfg)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['best_score_epoch_4.pth', 'epoch_4.pth']
    assert ['best_score_epoch_1.pth', 'best_score_epoch_2.pth'] in witness.seen
    assert ['best_score_epoch_2.pth', 'best_score_epoch_4.pth'] in witness.seen


def test_save_best_by_several_scores(tmp_path, monkeypatch):
    cfg = scripted(tmp_path, monkeypatch, [0.2, 0.1])
    cfg.default_hooks.checkpoint.update(save_best=['score', 'cost'], rule=['greater', 'less'], max_keep_ckpts=1)
    train(cfg)
    names = ['best_cost_epoch_2.pth', 'best_score_epoch_1.pth', 'epoch_2.pth']
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == names


def test_best_survives_a_resume(tmp_path, monkeypatch):
    checkpoint = dict(save_best='score', rule='greater', max_keep_ckpts=1)
    first = scripted(tmp_path, monkeypatch, [0.5])
    first.default_hooks.checkpoint.update(checkpoint)
    train(first)
    again = scripted(tmp_path, monkeypatch, [0.4], train_cfg=dict(max_epochs=2), resume=True)
    again.default_hooks.checkpoint.update(checkpoint)
    train(again)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['best_score_epoch_1.pth', 'epoch_2.pth']


def test_early_stopping(tmp_path, monkeypatch):
    cfg = scripted(tmp_path, monkeypatch, [0.5, 0.4, 0.4, 0.4, 0.4, 0.4])
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=2)]
    _, losses = train(cfg)
    assert len(losses) == 3


def test_ema_averages_weights(tmp_path):
    """Validation and checkpoints use m * new + (1 - m) * average, starting from the first weights."""

    class Weights(Hook):
        def __init__(self) -> None:
            self.values = []

        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            self.values.append(runner.model.backbone.conv1.weight.detach().clone())

        def after_train(self, runner) -> None:
            self.before_train_iter(runner, 0)

    weights = Weights()
    cfg = without_validation(tiny_config(tmp_path, train_cfg=dict(max_epochs=1)))
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.25)]
    train(cfg, weights)
    average = weights.values[1]  # the first update copies
    for value in weights.values[2:]:
        average = 0.75 * average + 0.25 * value
    saved = read_checkpoint(tmp_path / 'epoch_1.pth')
    torch.testing.assert_close(saved['state_dict']['backbone.conv1.weight'], average)
    torch.testing.assert_close(saved['ema_state_dict']['module.backbone.conv1.weight'], weights.values[-1])
    assert not torch.equal(average, weights.values[-1])


def test_class_count_is_checked_before_training(tmp_path):
    cfg = without_validation(tiny_config(tmp_path))
    cfg.model.roi_head.bbox_head.num_classes = 3
    recorder = LossRecorder()
    with pytest.raises(
        ValueError, match=r'roi_head.bbox_head .*num_classes=3, but ShapesDataset has 5 classes: circle'
    ):
        train(cfg, recorder)
    assert recorder.losses == {}


def test_summary_of_a_run(tmp_path):
    cfg = tiny_config(tmp_path, log_level='INFO')
    runner, _ = train(cfg)
    for name in ('curves.png', 'predictions.png'):
        picture = cv2.imread(str(tmp_path / name))
        assert min(picture.shape[:2]) > 100, name
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50, name
    log = next((tmp_path / runner.timestamp).glob('*.log')).read_text()
    assert 'deprecated in future' not in log
    table = log[log.index('summary') :]
    for part in ('last checkpoint', 'epoch_2.pth', 'config', 'curves.png', 'predictions.png', 'coco/bbox_mAP'):
        assert part in table
    for path in [line.split('|')[2].strip() for line in table.splitlines() if '| /' in line]:
        assert (tmp_path / path).exists()


def test_a_picture_that_fails_does_not_fail_the_run(tmp_path, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError('no fonts')

    monkeypatch.setattr('mmdetlike.engine.hooks.report_hook.plot_training_curves', broken)
    _, losses = train(without_validation(tiny_config(tmp_path, train_cfg=dict(max_epochs=1))))
    assert len(losses) == 4
    assert not (tmp_path / 'curves.png').exists()


def test_two_runs_in_one_process_write_into_their_own_folders(tmp_path):
    for name in ('a', 'b'):
        train(without_validation(tiny_config(tmp_path / name, train_cfg=dict(max_epochs=1))))
        assert (tmp_path / name / 'curves.png').is_file()
        assert len(list((tmp_path / name).glob('*/vis_data/scalars.json'))) == 1


def test_the_model_is_told_the_epoch():
    class Model(torch.nn.Linear):
        def set_epoch(self, epoch):
            self.epoch = epoch

    hub, model = MessageHub.get_instance('test_the_model_is_told_the_epoch'), Model(1, 1)
    SetEpochInfoHook().before_train_epoch(SimpleNamespace(model=model, epoch=3, message_hub=hub))
    assert model.epoch == 3
    SetEpochInfoHook().before_train_epoch(SimpleNamespace(model=torch.nn.Linear(1, 1), epoch=4, message_hub=hub))
    assert hub.get_info('epoch') == 4
