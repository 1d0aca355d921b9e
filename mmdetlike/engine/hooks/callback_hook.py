"""Functions as a hook."""

from collections.abc import Callable

from mmengine.hooks import Hook

from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class CallbackHook(Hook):
    """Call functions of the runner at points of a training.

    Args:
        before_train: Before the first iteration.
        after_train: After the last one.
        before_step: Before each iteration; keep it cheap, it counts as time for data.
        after_step: After each iteration.

    Raises:
        ConfigError: One can't be called.
    """

    def __init__(
        self,
        *,
        before_train: Callable | None = None,
        after_train: Callable | None = None,
        before_step: Callable | None = None,
        after_step: Callable | None = None,
    ) -> None:
        self.callbacks = dict(
            before_train=before_train, after_train=after_train, before_step=before_step, after_step=after_step
        )
        for name, callback in self.callbacks.items():
            if callback is not None and not callable(callback):
                raise ConfigError(f'CallbackHook: {name}={callback!r} should be a function of the runner.')

    def _call(self, name: str, runner) -> None:
        if self.callbacks[name] is not None:
            self.callbacks[name](runner)

    def before_train(self, runner) -> None:
        """Call ``before_train``."""
        self._call('before_train', runner)

    def after_train(self, runner) -> None:
        """Call ``after_train``."""
        self._call('after_train', runner)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Call ``before_step``."""
        self._call('before_step', runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Call ``after_step``."""
        self._call('after_step', runner)
