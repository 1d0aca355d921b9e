"""Pictures of training batches, and the time that prediction takes."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.engine import Runner
from mmdetlike.engine.hooks import BatchPicturesHook, InferenceTimerHook
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample
from tests.utils import tiny_config


class Recorder:
    dataset_meta = dict(classes=('x',))

    def __init__(self):
        self.images = []

    def add_image(self, name, image, step):
        self.images.append((name, image, step))


class FakeRunner:
    def __init__(self, step=0):
        self.iter = step
        self.visualizer = Recorder()


def entry(color, box):
    sample = DetDataSample(metainfo=dict(img_path='a.png', img_shape=(40, 40), ori_shape=(40, 40)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([box]), labels=torch.tensor([0]))
    return torch.tensor(color, dtype=torch.uint8)[:, None, None].expand(3, 40, 40), sample


def test_batches_are_drawn_with_their_objects():
    inputs, samples = zip(entry((0, 0, 200), [5.0, 5, 30, 30]), entry((200, 0, 0), [0.0, 0, 9, 9]))
    batch = dict(inputs=list(inputs), data_samples=list(samples))
    hook = BatchPicturesHook(interval=10, max_images=1, cell=80)
    for step in (0, 1, 9, 10):
        runner = FakeRunner(step)
        hook.before_train_iter(runner, step, batch)
        assert len(runner.visualizer.images) == (step % 10 == 0)
    ((name, sheet, step),) = runner.visualizer.images
    assert (name, step) == ('train_batch', 10)
    # the picture, given in the order B, G, R, is red; its box isn't
    reds = (sheet == [200, 0, 0]).all(-1).sum()
    assert 3000 < reds < 80 * 80
    both = FakeRunner()
    BatchPicturesHook(cell=80).before_train_iter(both, 0, batch)
    assert both.visualizer.images[0][1].shape[1] > 1.5 * sheet.shape[1]


def test_a_batch_that_cannot_be_drawn_ends_nothing(caplog):
    inputs, sample = entry((1, 2, 3), [0.0, 0, 9, 9])
    del sample.gt_instances
    runner = FakeRunner()
    with caplog.at_level('WARNING'):
        BatchPicturesHook().before_train_iter(runner, 0, dict(inputs=[inputs], data_samples=[sample]))
    assert not runner.visualizer.images


def test_what_cannot_be_set_is_told():
    with pytest.raises(ConfigError, match='interval=0, max_images=16 and cell=320 should be positive'):
        BatchPicturesHook(interval=0)
    with pytest.raises(ConfigError, match='warmup_batches=-1 should be 0 or more'):
        InferenceTimerHook(-1)


def test_a_run_with_both(tmp_path):
    hooks = [dict(type='BatchPicturesHook', interval=1, cell=64), dict(type='InferenceTimerHook', warmup_batches=1)]
    cfg = tiny_config(tmp_path, train_cfg=dict(max_epochs=1), custom_hooks=hooks, log_level='INFO')
    runner = Runner.from_cfg(cfg)
    runner.train()
    pictures = sorted((tmp_path / runner.timestamp).rglob('train_batch_*.png'))
    assert len(pictures) == runner.iter and np.ptp(cv2.imread(str(pictures[0]))) > 100
    runner.test()
    (timer,) = [hook for hook in runner.hooks if isinstance(hook, InferenceTimerHook)]
    times = timer.times
    assert 0 < times['model'] <= times['total'] and times['images'] >= 1
    assert times['total'] == pytest.approx(times['model'] + times['data'] + times['evaluation'])
    assert 'Inference: ' in next((tmp_path / runner.timestamp).glob('*.log')).read_text()
    assert not timer._handles


def test_the_clock_counts_the_model_alone(monkeypatch):
    ticks = iter([0.0, 1.0, 3.0, 3.5, 10.0, 11.0, 15.0, 16.0])
    monkeypatch.setattr('time.perf_counter', lambda: next(ticks))
    model = torch.nn.Module()
    model.forward = lambda: None

    class Running:
        pass

    runner = Running()
    runner.model = model
    hook = InferenceTimerHook(warmup_batches=0)
    hook.before_test(runner)
    hook.before_test_epoch(runner)  # at 0
    model()  # from 1 to 3
    hook.after_test_iter(runner, 0, outputs=[1, 2])  # at 3.5
    hook.after_test_epoch(runner)
    assert hook.times == dict(model=1.0, data=0.5, evaluation=0.25, total=1.75, images=2)
    hook.after_test(runner)
