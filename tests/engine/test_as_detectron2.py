"""What the engine has after Detectron2: precise batch norm, clipping, scaled schedules, callbacks, retries."""

import logging

import pytest
import torch
from torch import nn

from mmdetlike.engine.hooks import CallbackHook, ExpectedResultsHook, PreciseBNHook
from mmdetlike.engine.inference_mode import inference_context
from mmdetlike.engine.optim import AmpOptimWrapper, OptimWrapper
from mmdetlike.engine.precise_bn import batch_norms_in_training, update_bn_stats
from mmdetlike.engine.scale_schedule import scale_schedule
from mmdetlike.errors import ConfigError, UserError
from mmdetlike.registry import HOOKS
from mmdetlike.utils.first_n import log_first_n
from mmdetlike.utils.memory import retry_if_cuda_oom


def batches(count=6):
    generator = torch.Generator().manual_seed(0)
    return [3 + 2 * torch.randn(4, 3, 5, 5, generator=generator) for _ in range(count)]


def test_statistics_are_the_mean_over_batches():
    model = nn.Sequential(nn.BatchNorm2d(3))
    data = batches()
    assert update_bn_stats(model, data, len(data)) == 1
    expected_mean = torch.stack([x.mean((0, 2, 3)) for x in data]).mean(0)
    expected_var = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in data]).mean(0)
    torch.testing.assert_close(model[0].running_mean, expected_mean)
    torch.testing.assert_close(model[0].running_var, expected_var)
    assert model[0].momentum == 0.1 and model[0].num_batches_tracked == 0 and model.training


def test_only_layers_in_training_mode_change():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    model[0].eval()
    assert batch_norms_in_training(model) == [model[1]]
    update_bn_stats(model, batches(), 2)
    assert model[0].running_mean.abs().sum() == 0 and model[1].running_mean.abs().sum() > 0
    assert update_bn_stats(model.eval(), batches(), 2) == 0


def test_too_few_batches_change_nothing():
    model = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(ConfigError, match='expected 9 batches, the data loader has 6'):
        update_bn_stats(model, batches(), 9)
    assert model[0].running_mean.abs().sum() == 0 and model[0].momentum == 0.1


def test_a_layer_that_is_not_run_stays():
    model = nn.Sequential(nn.BatchNorm2d(3))
    model.unused = nn.BatchNorm2d(3)
    model.forward = model[0].forward
    assert update_bn_stats(model, batches(), 3) == 1
    assert torch.equal(model.unused.running_var, torch.ones(3))


class FakeRunner:
    max_iters = 10

    def __init__(self):
        self.iter = 0


@pytest.mark.parametrize('interval, expected', [(0, [10]), (4, [4, 8, 10]), (5, [5, 10])])
def test_statistics_are_updated_at_intervals_and_at_the_end(interval, expected, monkeypatch):
    hook, updated = PreciseBNHook(interval), []
    monkeypatch.setattr(hook, 'update', lambda runner: updated.append(runner.iter + 1))
    runner = FakeRunner()
    for runner.iter in range(10):
        hook.after_train_iter(runner, runner.iter)
    assert updated == expected
    with pytest.raises(ConfigError, match='got -1 and 200'):
        PreciseBNHook(-1)


@pytest.mark.parametrize('wrapper', [OptimWrapper, AmpOptimWrapper])
def test_each_parameter_is_clipped_by_itself(wrapper):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    wrapped = wrapper(optimizer=optimizer, clip_grad=dict(type='norm_per_parameter', max_norm=1.0))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    wrapped.update_params(model(torch.tensor([[30.0, 40.0]])).sum() * 0.5)
    moved = [old - new.detach() for old, new in zip(before, model.parameters())]
    torch.testing.assert_close(moved[0], torch.tensor([[0.6, 0.8]]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved[1], torch.tensor([0.5]))  # shorter than the limit: as it is


def test_wrong_settings_of_clipping_by_parameter_are_told():
    with pytest.raises(ConfigError, match="clip_grad has no 'max_norm'"):
        OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1), clip_grad=dict(type='norm_per_parameter'))


def schedule():
    return dict(
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=5000, val_interval=1000),
        param_scheduler=[
            dict(type='LinearLR', by_epoch=False, begin=0, end=500),
            dict(type='MultiStepLR', by_epoch=False, end=5000, milestones=[4000]),
            dict(type='MultiStepLR', by_epoch=True, milestones=[8]),
        ],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1000), logger=dict(interval=50)
        ),
        train_dataloader=dict(batch_size=2),
    )


def test_a_schedule_for_twice_as_many_processes():
    cfg = schedule()
    scaled = scale_schedule(cfg, 16, 8)
    assert scaled['optim_wrapper']['optimizer']['lr'] == 0.2
    assert scaled['train_cfg'] == dict(type='IterBasedTrainLoop', max_iters=2500, val_interval=500)
    warm_up, steps, epochs = scaled['param_scheduler']
    assert (warm_up['begin'], warm_up['end']) == (0, 250) and steps['milestones'] == [2000]
    assert epochs['milestones'] == [8] and scaled['train_dataloader'] == dict(batch_size=2)
    assert scaled['default_hooks']['checkpoint']['interval'] == 500
    assert scaled['default_hooks']['logger']['interval'] == 50
    assert cfg == schedule() and scale_schedule(cfg, 8, 8) == cfg
    assert scale_schedule(scaled, 8, 16) == cfg


def test_schedules_that_cannot_be_scaled_are_told():
    with pytest.raises(ConfigError, match='have to be positive, got 0 and 8'):
        scale_schedule(schedule(), 0, 8)
    with pytest.raises(ConfigError, match=r'no optim_wrapper\.optimizer\.lr'):
        scale_schedule({}, 1, 8)


def test_functions_are_called_as_a_hook():
    called = []
    names = ('before_train', 'after_train', 'before_step', 'after_step')
    hook = HOOKS.build(dict(type='CallbackHook', **{name: lambda _, name=name: called.append(name) for name in names}))
    hook.before_train(None)
    hook.before_train_iter(None, 0)
    hook.after_train_iter(None, 0)
    hook.after_train(None)
    assert called == ['before_train', 'before_step', 'after_step', 'after_train']
    CallbackHook().before_train(None)
    with pytest.raises(ConfigError, match='before_step=3 should be a function'):
        CallbackHook(before_step=3)


def test_results_are_checked_at_the_end():
    hook = ExpectedResultsHook([('coco/bbox_mAP', 0.4, 0.01), ('coco/segm_mAP', 0.3, 0.01)])
    hook.after_val_epoch(None, {'coco/bbox_mAP': 0.1})
    hook.after_val_epoch(None, {'coco/bbox_mAP': 0.405, 'coco/segm_mAP': 0.3})
    hook.after_train(None)
    with pytest.raises(UserError, match=r'segm_mAP is 0.3200, expected 0.3 ± 0.01'):
        hook.after_test_epoch(None, {'coco/segm_mAP': 0.32})
    with pytest.raises(UserError, match=r'bbox_mAP is nan, expected'):
        hook.after_test_epoch(None, {'coco/bbox_mAP': float('nan')})
    with pytest.raises(UserError, match=r'a is missing among \[\]'):
        ExpectedResultsHook([('a', 1, 0)]).after_train(None)
    with pytest.raises(ConfigError, match='expected \\(score, value, tolerance\\)'):
        ExpectedResultsHook([('a', 1)])


def test_a_function_that_runs_out_of_memory_tries_again():
    calls = []

    @retry_if_cuda_oom
    def compute(x, scale=1):
        calls.append(x.device.type)
        if len(calls) < succeeds_at:
            raise torch.OutOfMemoryError('no memory')
        return x * scale

    succeeds_at = 2
    assert compute(torch.ones(2), scale=3).tolist() == [3, 3] and len(calls) == 2
    calls.clear()
    succeeds_at = 3
    with pytest.warns(UserWarning, match='compute runs on the CPU'):
        assert compute(torch.ones(2)).tolist() == [1, 1]
    succeeds_at = 9
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning):
        compute(torch.ones(2))


def test_messages_are_logged_a_few_times(monkeypatch):
    said = []
    monkeypatch.setattr('mmdetlike.utils.first_n.print_log', lambda message, **_: said.append(message))
    for number in range(5):
        log_first_n(logging.INFO, f'by line {number}', n=2)
        log_first_n(logging.INFO, f'by text {number % 2}', key='message')
    assert said == ['by line 0', 'by text 0', 'by line 1', 'by text 1']
    with pytest.raises(ValueError, match="key='name'"):
        log_first_n(logging.INFO, 'x', key='name')


def test_modes_are_as_before():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    model[0].eval()
    with pytest.raises(KeyError), inference_context(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, False, True]
