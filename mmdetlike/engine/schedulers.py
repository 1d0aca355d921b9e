"""Schedules of learning rate and momentum beside those of mmengine."""

import bisect
import itertools
import math
from collections.abc import Sequence

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from mmdetlike.errors import ConfigError
from mmdetlike.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupParamScheduler(_ParamScheduler):
    """Warm a parameter up with the square of time: after step t of T it is (t / T)^2 of its full value.

    Args:
        optimizer: Optimizer or its wrapper.
        param_name: The parameter's name in its groups.
        begin: Step at which growth begins.
        end: Step at which the full value is reached.
        last_step: Index of the last step; -1 to begin.
        by_epoch: Whether steps are epochs.
        verbose: Print every value.

    Raises:
        ConfigError: ``end`` isn't finite or not larger than ``begin``.
    """

    def __init__(
        self,
        optimizer,
        param_name: str,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        if not begin < end < INF:
            raise ConfigError(f'{type(self).__name__} needs begin < end, and an end, got begin={begin} and end={end}')
        self.total_iters = end - begin
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    @classmethod
    def build_iter_from_epoch(
        cls, *args, begin: int = 0, end: int = INF, by_epoch: bool = True, epoch_length: int | None = None, **kwargs
    ) -> '_ParamScheduler':
        """A schedule by iterations from one whose ``begin`` and ``end`` are epochs of ``epoch_length``."""
        if not by_epoch:
            raise ConfigError('convert_to_iter_based=True is for schedules by epochs, but by_epoch is False')
        if not epoch_length or epoch_length < 1:
            raise ConfigError(f'epoch_length must be a positive number of iterations, got {epoch_length}')
        end = end if end == INF else end * epoch_length
        return cls(*args, begin=begin * epoch_length, end=end, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        grown = ((self.last_step + 1) / self.total_iters) ** 2
        return [value * grown for value in self.base_values]


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupLR(LRSchedulerMixin, QuadraticWarmupParamScheduler):
    """``QuadraticWarmupParamScheduler`` of the learning rate."""


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupMomentum(MomentumSchedulerMixin, QuadraticWarmupParamScheduler):
    """``QuadraticWarmupParamScheduler`` of the momentum."""


ANNEALING = {
    'linear': lambda progress: progress,
    'cos': lambda progress: (1 - math.cos(math.pi * progress)) / 2,
}


@PARAM_SCHEDULERS.register_module()
class PhasedParamScheduler(_ParamScheduler):
    """Move a parameter through phases, each from one factor of its initial value to another.

    Learning rates that go up and down in cycles, and momenta against them, arXiv 1708.07120. The value doesn't depend
    on other schedules of the same parameter. After the last phase it stays.

    Args:
        optimizer: Optimizer or its wrapper.
        param_name: The parameter's name in its groups.
        phases: ``dict(length=..., start=1.0, stop=10.0, anneal='cos')`` of each: steps, the factors at its two ends,
            and ``'cos'`` or ``'linear'``.
        begin, end: Steps between which it acts; ``phases`` count from ``begin``.
        last_step: Index of the last step; -1 to begin.
        by_epoch: Whether steps are epochs.
        verbose: Print every value.

    Raises:
        ConfigError: There is no phase, or one has no positive length or an unknown ``anneal``.
    """

    def __init__(
        self,
        optimizer,
        param_name: str,
        phases: Sequence[dict],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        self.phases = [_checked_phase(type(self).__name__, phase) for phase in phases]
        if not self.phases:
            raise ConfigError(f'{type(self).__name__} needs one phase at least, got phases={phases!r}')
        self.ends = list(itertools.accumulate(phase['length'] for phase in self.phases))
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args,
        phases: Sequence[dict],
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs,
    ) -> '_ParamScheduler':
        """A schedule by iterations from one whose lengths are epochs, or parts of them, of ``epoch_length``."""
        if not by_epoch:
            raise ConfigError('convert_to_iter_based=True is for schedules by epochs, but by_epoch is False')
        if not epoch_length or epoch_length < 1:
            raise ConfigError(f'epoch_length must be a positive number of iterations, got {epoch_length}')
        phases = [dict(phase, length=phase['length'] * epoch_length) for phase in phases]
        end = end if end == INF else end * epoch_length
        return cls(*args, phases=phases, begin=begin * epoch_length, end=end, by_epoch=False, **kwargs)

    def factor(self, step: int) -> float:
        """The factor of the initial value after ``step`` steps."""
        index = bisect.bisect_right(self.ends, step)
        if index == len(self.phases):
            return self.phases[-1]['stop']
        phase = self.phases[index]
        progress = 1 - (self.ends[index] - step) / phase['length']
        return phase['start'] + (phase['stop'] - phase['start']) * ANNEALING[phase['anneal']](progress)

    def _get_value(self) -> list[float]:
        return [value * self.factor(self.last_step) for value in self.base_values]


def _checked_phase(name: str, phase: dict) -> dict:
    phase = {'length': 0, 'start': 1.0, 'stop': 1.0, 'anneal': 'cos', **phase}
    if (
        set(phase) != {'length', 'start', 'stop', 'anneal'}
        or phase['anneal'] not in ANNEALING
        or not phase['length'] > 0
    ):
        raise ConfigError(
            f"{name} got the phase {phase}: expected a positive length, start, stop, and anneal='cos' or 'linear'"
        )
    return phase


@PARAM_SCHEDULERS.register_module()
class PhasedLR(LRSchedulerMixin, PhasedParamScheduler):
    """``PhasedParamScheduler`` of the learning rate."""


@PARAM_SCHEDULERS.register_module()
class PhasedMomentum(MomentumSchedulerMixin, PhasedParamScheduler):
    """``PhasedParamScheduler`` of the momentum: ``momentum`` of SGD, the first of Adam's ``betas``."""
