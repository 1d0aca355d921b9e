"""Schedules of learning rate and momentum beside those of mmengine."""

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
