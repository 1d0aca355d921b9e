"""The base of hooks that were written for ``mmcv.runner``, whose methods take the runner alone."""

import functools
import inspect
from collections.abc import Callable

from mmengine.hooks import Hook as MMEngineHook

# what 2.x called before and after training as well as the rest, unless a hook had the special method, too
GENERAL = {
    'before_epoch': 'before_train_epoch',
    'after_epoch': 'after_train_epoch',
    'before_iter': 'before_train_iter',
    'after_iter': 'after_train_iter',
}


class Hook(MMEngineHook):
    """Base of hooks of 2.x: a method ``after_train_iter(self, runner)`` is called although mmengine's takes more.

    ``before_epoch``, ``after_epoch``, ``before_iter`` and ``after_iter`` are called in training.
    """

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        for general, of_training in GENERAL.items():
            if general in own and of_training not in own:
                setattr(cls, of_training, own[general])
        for name in [
            name for name in vars(cls) if hasattr(MMEngineHook, name) and name.startswith(('before_', 'after_'))
        ]:
            if _takes_the_runner_alone(vars(cls)[name]):
                setattr(cls, name, _without_the_rest(vars(cls)[name]))

    def every_n_iters(self, runner, n: int) -> bool:
        """Whether this iteration is the ``n``-th, the 2 ``n``-th and so on."""
        return self.every_n_train_iters(runner, n)

    def is_last_epoch(self, runner) -> bool:
        """Whether this epoch is the last one."""
        return self.is_last_train_epoch(runner)

    def is_last_iter(self, runner) -> bool:
        """Whether this iteration is the last one."""
        return self.is_last_train_iter(runner)


def _takes_the_runner_alone(method: Callable) -> bool:
    parameters = inspect.signature(method).parameters.values()
    return len(parameters) == 2 and all(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)


def _without_the_rest(method: Callable) -> Callable:
    @functools.wraps(method)
    def called(self, runner, *args, **kwargs):
        return method(self, runner)

    return called
