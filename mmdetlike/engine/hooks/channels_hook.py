"""A check that pictures have as many channels as the model takes, made before its first layer fails."""

from mmengine.hooks import Hook
from torch import nn

from mmdetlike.engine.hooks.checks import batch_paths, flat_branches, unwrapped
from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS

FOCUS = 4  # a Focus stem takes the pixels of 2 x 2 neighbors as channels


@HOOKS.register_module()
class ChannelCheckHook(Hook):
    """Compare the channels of the first batch with those that the backbone's first convolution takes."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.checked: set[str] = set()

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Check a batch of training."""
        self._check('train_pipeline', runner, data_batch)

    def before_val_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Check a batch of validation."""
        self._check('val_pipeline', runner, data_batch)

    def before_test_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Check a batch of a test."""
        self._check('test_pipeline', runner, data_batch)

    def _check(self, pipeline: str, runner, data_batch) -> None:
        if pipeline in self.checked:
            return
        self.checked.add(pipeline)
        pictures = data_batch.get('inputs') if isinstance(data_batch, dict) else None
        if isinstance(pictures, dict):
            pictures = flat_branches(pictures)
        taken = input_channels(runner.model)
        if taken is None or not hasattr(pictures, '__getitem__') or getattr(pictures[0], 'ndim', 0) != 3:
            return
        given = pictures[0].shape[0]
        if taken not in (given, FOCUS * given):
            path = (batch_paths(data_batch) or ['a picture'])[0]
            raise ConfigError(
                f'{path} has {given} channels after the {pipeline}, but the first convolution of the backbone takes '
                f'{taken}: set in_channels of the backbone to {given}, with as many numbers in mean and std of the '
                f'data_preprocessor, or load other channels by color_type of LoadImageFromFile (color: 3, grayscale: 1)'
            )


def input_channels(model: nn.Module) -> int | None:
    """The input channels of the first convolution of a detector's backbone; None if none is found."""
    model = unwrapped(model)
    # of a student and its teacher, which are alike, the student
    backbone = getattr(getattr(model, 'student', model), 'backbone', None)
    if not isinstance(backbone, nn.Module):
        return None
    return next((module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
