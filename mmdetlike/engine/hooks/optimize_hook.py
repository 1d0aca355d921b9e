"""A test of a model that is made fast for prediction."""

from mmengine.hooks import Hook

from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class OptimizeHook(Hook):
    """Optimize the model before a test, once its weights are loaded; it can't be trained afterwards.

    Args:
        optimize: ``'fp32'``, ``'bf16'``, ``'fp16'`` or ``'compile'``, see ``optimize_model``.
    """

    def __init__(self, optimize: str = 'fp32') -> None:
        self.optimize = optimize

    def before_test(self, runner) -> None:
        """Optimize the detectors in the model."""
        # the networks that it knows are imported only where they are needed
        from mmdetlike.models.optimize import optimize_model

        optimize_model(runner.model, self.optimize)
