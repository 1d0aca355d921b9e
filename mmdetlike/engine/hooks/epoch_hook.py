"""The epoch, for models that train differently in later ones."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class SetEpochInfoHook(Hook):
    """Call the model's ``set_epoch`` with the epoch that begins, counted from 0."""

    def before_train_epoch(self, runner) -> None:
        """Tell the model.

        Raises:
            ConfigError: The model has no ``set_epoch``.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'set_epoch'):
            raise ConfigError(
                f'custom_hooks: SetEpochInfoHook needs a model with set_epoch, such as TOOD; {type(model).__name__} '
                'has none. Remove the hook.'
            )
        model.set_epoch(runner.epoch)
