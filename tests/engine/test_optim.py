"""Mixed precision, accumulated and clipped gradients, scaled learning rates."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmdetlike.engine import Runner, launch
from mmdetlike.engine.optim import AmpOptimWrapper
from mmdetlike.errors import ConfigError
from mmdetlike.registry import OPTIM_WRAPPERS
from tests.utils import sample_everything, tiny_config, train, without_validation


class Probe(Hook):
    """Keeps dtypes of the backbone's output and the gradients as they are when the optimizer steps."""

    def __init__(self) -> None:
        self.dtypes, self.norms, self.steps = set(), [], 0

    def before_train(self, runner) -> None:
        runner.model.backbone.register_forward_hook(lambda m, i, out: self.dtypes.add(out[0].dtype))
        optimizer = runner.optim_wrapper.optimizer
        parameters = [p for group in optimizer.param_groups for p in group['params']]

        def note(*_):
            self.steps += 1
            grads = [p.grad.flatten() for p in parameters if p.grad is not None]
            self.norms.append(float(torch.cat(grads).norm()))

        optimizer.register_step_pre_hook(note)


def config(work_dir, model='faster_rcnn', **overrides):
    return without_validation(tiny_config(work_dir, model, **overrides))


@pytest.mark.parametrize('model', ['faster_rcnn', 'retinanet'])
def test_mixed_precision_on_the_cpu_learns(model, tmp_path):
    probe = Probe()
    wrapper = dict(type='AmpOptimWrapper', clip_grad=dict(max_norm=10))
    _, losses = train(config(tmp_path, model, optim_wrapper=wrapper, train_cfg=dict(max_epochs=6)), probe)
    total = [loss['loss'] for loss in losses.values()]
    assert probe.dtypes == {torch.bfloat16}
    assert sum(total[-4:]) < 0.9 * sum(total[:4])


def test_mixed_precision_is_near_full(tmp_path):
    full = train(config(tmp_path / 'a', 'retinanet', train_cfg=dict(max_epochs=1)))[1]
    half = train(
        config(tmp_path / 'b', 'retinanet', train_cfg=dict(max_epochs=1), optim_wrapper=dict(type='AmpOptimWrapper'))
    )[1]
    assert full[0]['loss'] != half[0]['loss']
    assert half[0]['loss'] == pytest.approx(full[0]['loss'], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason='about processes without CUDA')
@pytest.mark.parametrize('dtype', ['float16', torch.float16])
def test_float16_on_the_cpu_is_refused(dtype):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match=r'mixed precision on the CPU is bfloat16, got dtype=.*float16'):
        AmpOptimWrapper(optimizer=optimizer, dtype=dtype)


def losses_and_norms(work_dir, batch_size, **wrapper):
    probe = Probe()
    cfg = config(work_dir, train_cfg=dict(max_epochs=1), optim_wrapper=wrapper)
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_dataloader.sampler.shuffle = False
    sample_everything(cfg)
    return train(cfg, probe)[1], probe


def test_accumulated_gradients_make_a_larger_batch(tmp_path):
    """Near, not equal: each half is averaged over its own objects."""
    _, whole = losses_and_norms(tmp_path / 'a', batch_size=4)
    _, halves = losses_and_norms(tmp_path / 'b', batch_size=2, accumulative_counts=2)
    assert whole.steps == halves.steps == 4
    assert halves.norms == pytest.approx(whole.norms, rel=0.2)


def test_gradients_are_clipped(tmp_path):
    _, free = losses_and_norms(tmp_path / 'a', batch_size=4)
    _, clipped = losses_and_norms(tmp_path / 'b', batch_size=4, clip_grad=dict(max_norm=0.1))
    assert min(free.norms) > 0.2
    assert clipped.norms == pytest.approx([0.1] * 4, rel=1e-3)


@pytest.mark.parametrize('kind', ['OptimWrapper', 'AmpOptimWrapper'])
@pytest.mark.parametrize(
    'clip_grad, message',
    [
        (
            dict(maxnorm=3),
            r"optim_wrapper.*clip_grad has unknown arguments 'maxnorm'; of type 'norm' it takes max_norm",
        ),
        (dict(norm_type=2), r"clip_grad has no 'max_norm'"),
        ({}, r"clip_grad has no 'max_norm'"),
        (35, r'clip_grad=35: expected a dict'),
        (dict(type='value', max_norm=3), r"unknown arguments 'max_norm'; of type 'value' it takes clip_value"),
        (dict(type='size', max_norm=3), r"clip_grad has type='size'; expected one of 'norm', 'value'"),
    ],
)
def test_settings_of_clipping_are_checked_before_training(kind, clip_grad, message, tmp_path):
    cfg = config(tmp_path, 'retinanet', optim_wrapper=dict(type=kind, clip_grad=clip_grad))
    with pytest.raises(ConfigError, match=message):
        launch(cfg, 'train')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert OPTIM_WRAPPERS.build(dict(type=kind, optimizer=optimizer, clip_grad=dict(type='value', clip_value=1)))


@pytest.mark.parametrize('base, lr', [(2, 0.02), (4, 0.01), (16, 0.0025)])
def test_learning_rate_is_scaled_with_the_batch(base, lr, tmp_path):
    cfg = config(tmp_path, auto_scale_lr=dict(enable=True, base_batch_size=base), train_cfg=dict(max_epochs=1))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(lr)]


def run_with_two_optimizers(cfg, updates_per_batch: int) -> tuple[list[int], list[int]]:
    """Iterations after which each of two optimizers, which accumulate 3 batches, steps."""
    runner = Runner.from_cfg(cfg)
    model = runner.model
    names = ('backbone', 'bbox_head')
    parts = {name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), 1e-3), 3) for name in names}
    steps = ([], [])
    for part, log in zip(parts.values(), steps):
        part.optimizer.register_step_pre_hook(lambda *_, log=log: log.append(runner.iter + 1))

    def train_step(data, optim_wrapper):
        for i, part in enumerate(optim_wrapper.values()):
            for _ in range(updates_per_batch if i == 0 else 1):
                losses = model(**model.data_preprocessor(data, True), mode='loss')
                loss, log_vars = model.parse_losses(losses)
                part.update_params(loss)
        return log_vars

    model.train_step = train_step
    runner.optim_wrapper = OptimWrapperDict(**parts)
    runner.train()
    return steps


def test_groups_of_several_optimizers_end_with_the_epoch_or_the_run(tmp_path):
    by_epoch = run_with_two_optimizers(config(tmp_path / 'a', 'retinanet'), 1)
    assert by_epoch == ([3, 4, 7, 8], [3, 4, 7, 8])
    settings = dict(train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=5))
    by_iteration = run_with_two_optimizers(config(tmp_path / 'b', 'retinanet', **settings), 1)
    assert by_iteration == ([3, 5], [3, 5])


def test_an_optimizer_that_is_updated_more_often_keeps_its_own_groups(tmp_path):
    steps = run_with_two_optimizers(config(tmp_path, 'retinanet', train_cfg=dict(max_epochs=1)), 2)
    # the first has done 8 updates: groups end after the third and the sixth
    assert steps == ([2, 3], [3, 4])


class StepCounter(Hook):
    """Iterations after which the optimizer steps."""

    def before_train(self, runner):
        self.steps = []
        runner.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: self.steps.append(runner.iter + 1))


def test_groups_of_accumulated_gradients_end_with_the_epoch(tmp_path):
    """Nothing is carried into the next epoch, so that a run resumed from its checkpoint is the same."""
    settings = dict(optim_wrapper=dict(accumulative_counts=3))
    whole, counter = without_validation(tiny_config(tmp_path / 'whole', 'retinanet', **settings)), StepCounter()
    runner, losses = train(whole, counter)
    assert counter.steps == [3, 4, 7, 8]
    second = without_validation(tiny_config(tmp_path / 'second', 'retinanet', **settings))
    second.update(resume=True, load_from=str(tmp_path / 'whole' / 'epoch_1.pth'))
    resumed, resumed_losses = train(second)
    assert resumed_losses == {iteration: losses[iteration] for iteration in range(4, 8)}
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_shorter_group_is_averaged_over_what_it_has(tmp_path):
    """Four batches in groups of five are one step, as that of one group of four."""
    norms = []
    for count in (4, 5):
        settings = dict(optim_wrapper=dict(accumulative_counts=count))
        runner, _ = train(without_validation(tiny_config(tmp_path / str(count), 'retinanet', **settings)))
        norms.append(torch.cat([value.flatten() for value in runner.model.state_dict().values()]).norm().item())
    assert norms[0] == norms[1]
