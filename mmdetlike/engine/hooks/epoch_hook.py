"""The epoch, for models that train differently in later ones."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class SetEpochInfoHook(Hook):
    """Tell models the epoch that begins, counted from 0.

    Ours ask ``TrainingProgress``; a model of your own with ``set_epoch(epoch)`` is called.
    """

    def before_train_epoch(self, runner) -> None:
        """Tell the model."""
        runner.message_hub.update_info('epoch', runner.epoch)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model, 'set_epoch'):
            model.set_epoch(runner.epoch)
