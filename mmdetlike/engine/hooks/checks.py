"""Mistakes that are better found early."""

import math

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmdetlike.errors import ConfigError, UserError
from mmdetlike.registry import HOOKS


class InvalidLossError(UserError, RuntimeError):
    """A loss became NaN or infinite."""


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stop when a loss is NaN or infinite, before a checkpoint of the spoilt weights is written.

    Args:
        interval: Check every so many iterations.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Look at the losses of this iteration.

        Raises:
            InvalidLossError: Names the iteration, the loss terms and the images.
        """
        if not self.every_n_train_iters(runner, self.interval):
            return
        values = {name: float(value.detach()) for name, value in (outputs or {}).items() if 'loss' in name}
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if bad:
            terms = ', '.join(f'{name}={value}' for name, value in bad.items())
            raise InvalidLossError(
                f'loss is not finite at iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {terms}. Images: '
                f'{", ".join(batch_paths(data_batch)) or "unknown"}. Checkpoints written before are untouched; try a '
                'lower learning rate, gradient clipping (optim_wrapper.clip_grad) or check these annotations.'
            )


def batch_paths(data_batch: dict | None) -> list[str]:
    """The image paths, or ids, of a batch."""
    samples = (data_batch or {}).get('data_samples') or []
    return [str(s.metainfo.get('img_path', s.metainfo.get('img_id', '?'))) for s in samples]


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Stop when a head was built for another number of classes than the dataset has.

    Heads of boxes and masks may also predict the things alone, where the dataset names its ``thing_classes``. Region
    proposals have one class, and semantic heads count the classes of pixels in their own way.
    """

    def before_train(self, runner) -> None:
        """Check against the training set."""
        self._check(runner, runner.train_dataloader.dataset)

    def before_val(self, runner) -> None:
        """Check against the validation set."""
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner) -> None:
        """Check against the test set."""
        self._check(runner, runner.test_dataloader.dataset)

    @staticmethod
    def _check(runner, dataset) -> None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if classes is None:
            return
        if isinstance(classes, str):
            raise ConfigError(
                f'metainfo.classes must be a sequence of names, got the string {classes!r}; write a tuple'
            )
        things = dataset.metainfo.get('thing_classes', classes)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name, module in model.named_modules():
            count = getattr(module, 'num_classes', None)
            if count is None or name.endswith(('rpn_head', 'semantic_head')) or _is_proposal_head(module):
                continue
            if isinstance(count, int) and count not in (len(classes), len(things)):
                raise ConfigError(
                    f'{name} ({type(module).__name__}) predicts num_classes={count}, but {type(dataset).__name__} has '
                    f'{len(classes)} classes: {", ".join(map(str, classes[:20]))}. Set num_classes={len(classes)} in '
                    'the config, or metainfo=dict(classes=...) of the dataset.'
                )


def _is_proposal_head(module) -> bool:
    """Heads that tell objects from background have one class whatever the dataset has."""
    return getattr(module, 'loss_prefix', '') == 'loss_rpn_'
