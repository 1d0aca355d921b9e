"""Stopping early, in configs that are tested, too."""

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook

from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """mmengine's, which looks at the training loop when training begins, not in a test, which has none."""

    def before_run(self, runner) -> None:
        """Nothing is known yet of what will run."""

    def before_train(self, runner) -> None:
        """Make sure that the loop can be stopped."""
        super().before_run(runner)
