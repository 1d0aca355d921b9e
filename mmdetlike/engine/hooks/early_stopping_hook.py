"""Early stopping that leaves tests alone."""

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook

from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """mmengine's early stopping, which looks at the training loop when training begins.

    mmengine looks at it at the beginning of any run, and fails in a test, which has none.
    """

    def before_run(self, runner) -> None:
        """Nothing is known yet of what will run."""

    def before_train(self, runner) -> None:
        """Make sure that the loop can be stopped."""
        super().before_run(runner)
