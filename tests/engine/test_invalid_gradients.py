"""A gradient that isn't finite never reaches the weights."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from mmdetlike.engine.hooks import CheckInvalidLossHook
from mmdetlike.engine.hooks.checks import InvalidLossError
from tests.utils import tiny_config, train, without_validation


class SpoilGradient(Hook):
    """Makes the gradient of one iteration NaN or infinite behind a loss that is finite."""

    def __init__(self, iteration: int, value: float) -> None:
        self.iteration, self.value = iteration, value
        self.images: list[list[str]] = []

    def before_train(self, runner):
        self.runner = runner

        def spoil(_module, _inputs, outputs):
            if runner.iter == self.iteration:
                outputs[0].register_hook(lambda grad: grad * self.value)

        runner.model.backbone.register_forward_hook(spoil)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.images.append([sample.img_path for sample in data_batch['data_samples']])
        self.weights = [parameter.detach().clone() for parameter in runner.model.parameters()]


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('wrapper', [{}, dict(clip_grad=dict(max_norm=1.0)), dict(type='AmpOptimWrapper')])
def test_the_step_is_not_taken(wrapper, value, tmp_path):
    cfg = without_validation(tiny_config(tmp_path, 'retinanet', optim_wrapper=wrapper))
    spoiler = SpoilGradient(2, value)
    with pytest.raises(InvalidLossError, match=r'gradient is not finite at iteration 3 \(epoch 1\)') as caught:
        train(cfg, spoiler)
    assert f'Images: {", ".join(spoiler.images[2])}. ' in str(caught.value)
    after = list(spoiler.runner.model.parameters())
    assert all(torch.equal(*pair) for pair in zip(spoiler.weights, after))


def test_all_images_of_an_accumulated_gradient_are_named(tmp_path):
    cfg = without_validation(tiny_config(tmp_path, 'retinanet', optim_wrapper=dict(accumulative_counts=2)))
    spoiler = SpoilGradient(2, math.nan)
    with pytest.raises(InvalidLossError, match='gradient is not finite at iteration 4') as caught:
        train(cfg, spoiler)
    assert f'Images: {", ".join(spoiler.images[2] + spoiler.images[3])}. ' in str(caught.value)


class SpoilLoss(Hook):
    def before_train(self, runner):
        self.runner = runner
        runner.model.register_forward_hook(
            lambda _module, _inputs, losses: {**losses, 'loss_cls': losses['loss_cls'][0] * math.nan}, prepend=True
        )


def test_a_loss_that_is_not_finite_is_named_and_not_stepped(tmp_path):
    cfg = without_validation(tiny_config(tmp_path, 'retinanet'))
    spoiler = SpoilLoss()
    with pytest.raises(InvalidLossError, match=r'loss is not finite at iteration 1 .*: .*loss_cls=nan'):
        train(cfg, spoiler)
    assert all(torch.isfinite(parameter).all() for parameter in spoiler.runner.model.parameters())


@pytest.mark.parametrize(('value', 'stopped'), [(1e30, False), (math.inf, True), (-math.inf, True), (math.nan, True)])
@pytest.mark.parametrize('scaled', [True, False])
def test_gradients_are_huge_or_left_to_a_loss_scaler(value, stopped, scaled):
    """A sum of squares would overflow; a fused optimizer is told by its loss scaler itself."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, fused=scaled)
    runner = SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(optimizer=optimizer), iter=0, epoch=0)
    hook = CheckInvalidLossHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0, {})
    model(torch.full((1, 2), value if math.isfinite(value) else 1.0)).sum().backward()
    model.weight.grad[0, 0] = value
    if scaled:
        optimizer.found_inf = torch.ones(())
    if stopped and not scaled:
        with pytest.raises(InvalidLossError, match='Images: unknown'):
            optimizer.step()
    else:
        optimizer.step()
