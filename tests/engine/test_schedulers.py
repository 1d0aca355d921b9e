"""Schedules beside those of mmengine: phases of the learning rate and of the momentum."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmdetlike.engine.schedulers import PhasedLR, PhasedMomentum
from mmdetlike.errors import ConfigError


def optimizer(cls=torch.optim.SGD, **settings):
    return cls([torch.nn.Parameter(torch.zeros(1))], lr=0.1, **settings)


def followed(scheduler, name: str, steps: int) -> list[float]:
    """The values that a scheduler sets, step by step."""
    groups = scheduler.optimizer.param_groups
    seen = []
    for _ in range(steps):
        seen.append(groups[0][name])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def test_phases_follow_one_another_and_the_last_value_stays():
    phases = [
        dict(length=4, start=1.0, stop=5.0, anneal='linear'),
        dict(length=2, start=5.0, stop=1.0),
    ]
    seen = followed(PhasedLR(optimizer(), phases=phases), 'lr', 9)
    assert seen == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.1, 0.1, 0.1])


def test_a_cosine_between_the_ends():
    seen = followed(PhasedMomentum(optimizer(momentum=0.8), phases=[dict(length=8, stop=0.5)]), 'momentum', 9)
    assert seen == pytest.approx([0.6 + 0.2 * math.cos(math.pi * t / 8) for t in range(9)])


def test_adam_has_a_momentum():
    adam = optimizer(torch.optim.Adam, betas=(0.9, 0.99))
    followed(PhasedMomentum(adam, phases=[dict(length=2, stop=0.5)]), 'momentum', 2)
    assert adam.param_groups[0]['betas'] == pytest.approx((0.45, 0.99))


def test_lengths_in_parts_of_epochs_become_iterations():
    wrapper = OptimWrapper(optimizer())
    phases = [dict(length=0.4, stop=2.0, anneal='linear'), dict(length=0.6, start=2.0, stop=0.0, anneal='linear')]
    scheduler = PhasedLR.build_iter_from_epoch(wrapper, phases=phases, end=1, epoch_length=10)
    assert (scheduler.end, scheduler.by_epoch) == (10, False)
    factors = [scheduler.factor(step) for step in (0, 2, 4, 7, 10)]
    assert factors == pytest.approx([1.0, 1.5, 2.0, 1.0, 0.0])


def test_a_resumed_schedule_goes_on():
    phases = [dict(length=6, stop=3.0)]
    whole = followed(PhasedLR(optimizer(), phases=phases), 'lr', 6)
    first = PhasedLR(optimizer(), phases=phases)
    followed(first, 'lr', 3)
    second = PhasedLR(optimizer(), phases=phases)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert followed(second, 'lr', 3) == pytest.approx(whole[3:])


@pytest.mark.parametrize('phase', [dict(length=0), dict(length=1, anneal='sine'), dict(length=1, end=2), {}])
def test_a_phase_that_is_none_is_told(phase):
    with pytest.raises(ConfigError, match=r'got the phase .* expected a positive length'):
        PhasedLR(optimizer(), phases=[phase])
    with pytest.raises(ConfigError, match='needs one phase at least'):
        PhasedLR(optimizer(), phases=[])
