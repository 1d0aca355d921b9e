"""Checks that stop a run early: losses that are not finite, heads for another number of classes."""

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from mmdetlike.engine.optim import parts_of
from mmdetlike.errors import ConfigError, UserError
from mmdetlike.registry import HOOKS
from mmdetlike.structures import TrackDataSample

ADVICE = (
    'Checkpoints written before are untouched; try a lower learning rate, gradient clipping (optim_wrapper.clip_grad) '
    'or check these annotations.'
)


class InvalidLossError(UserError, RuntimeError):
    """A loss, or the gradient of one, became NaN or infinite."""


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stop when a loss or a gradient is NaN or infinite, before it reaches the weights.

    A finite loss can have a gradient that isn't. Gradients are looked at before each step of the optimizer; float16
    with a loss scaler leaves such steps out by itself, and goes on.

    Args:
        interval: Check losses every so many iterations.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval
        # images of the batches that make the gradient of the next step; several where gradients are accumulated
        self._batches: list[list[str]] = []
        self._losses: dict | None = None

    def before_train(self, runner) -> None:
        """Let gradients be checked whenever an optimizer is about to step."""
        model = unwrapped(runner.model)

        def keep_losses(_module, _inputs, outputs) -> None:
            self._losses = outputs if isinstance(outputs, dict) else None

        def check(optimizer, *_) -> None:
            if not _is_finite(optimizer):
                self._refuse_step(runner)
            self._batches = []

        model.register_forward_hook(keep_losses)
        for part in parts_of(runner.optim_wrapper):
            part.optimizer.register_step_pre_hook(check)

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Remember the images whose gradient will be checked."""
        self._batches.append(batch_paths(data_batch))

    def _refuse_step(self, runner) -> None:
        losses = unwrapped(runner.model).parse_losses(self._losses)[1] if self._losses else {}
        _refuse_losses(runner, losses, self._batches[-1])
        images = list(itertools.chain.from_iterable(self._batches))
        if isinstance(runner.model, DistributedDataParallel):
            # gradients are averaged over the processes, which all get here: any of their images can be the one
            images = list(itertools.chain.from_iterable(all_gather_object(images)))
        raise InvalidLossError(
            f'gradient is not finite at iteration {runner.iter + 1} (epoch {runner.epoch + 1}), though the loss is: '
            f'the step is not taken. Images: {", ".join(images) or "unknown"}. {ADVICE}'
        )

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Check the losses of this iteration.

        Raises:
            InvalidLossError: Names the iteration, the loss terms and the images.
        """
        self._losses = None
        if self.every_n_train_iters(runner, self.interval):
            _refuse_losses(runner, outputs or {}, batch_paths(data_batch))


def _refuse_losses(runner, losses: dict, images: list[str]) -> None:
    values = {name: float(value.detach()) for name, value in losses.items() if 'loss' in name}
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if bad:
        terms = ', '.join(f'{name}={value}' for name, value in bad.items())
        raise InvalidLossError(
            f'loss is not finite at iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {terms}. Images: '
            f'{", ".join(images) or "unknown"}. {ADVICE}'
        )


def _is_finite(optimizer) -> bool:
    """Whether all gradients are finite; found by one reduction, which waits for the device once."""
    if getattr(optimizer, 'found_inf', None) is not None:
        return True  # a fused optimizer under a loss scaler, which leaves out such steps itself
    parameters = itertools.chain.from_iterable(group['params'] for group in optimizer.param_groups)
    grads = [p.grad for p in parameters if p.grad is not None and p.grad.numel() > 0]
    # squares of finite numbers can overflow, which the largest number can't; but it takes much longer to find on a CPU
    return math.isfinite(get_total_norm(grads)) or math.isfinite(get_total_norm(grads, norm_type=math.inf))


def unwrapped(model: nn.Module) -> nn.Module:
    """A model without what distributes it over processes."""
    return model.module if is_model_wrapper(model) else model


def batch_paths(data_batch: dict | None) -> list[str]:
    """The image paths, or ids, of a batch; each once, though several branches may have views of it."""
    samples = flat_branches((data_batch or {}).get('data_samples'))
    clips = [sample if isinstance(sample, TrackDataSample) else [sample] for sample in samples]
    samples = itertools.chain.from_iterable(clips)
    paths = [str(s.metainfo.get('img_path', s.metainfo.get('img_id', '?'))) for s in samples]
    return list(dict.fromkeys(paths))


def flat_branches(values: Mapping | Sequence | None) -> list:
    """The entries of a batch as one list, whether they are held by branch (see ``MultiBranch``) or not."""
    if isinstance(values, Mapping):
        return [value for branch in values.values() for value in branch if value is not None]
    return [] if values is None else list(values)


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Stop when a head was built for another number of classes than the dataset has, or its loss for another one.

    Before training it also stops where validation would find no ground truth.

    Heads of boxes and masks may also predict the things alone, where the dataset names its ``thing_classes``. A head
    whose ``predicts_dataset_classes`` is False is passed over: proposals have one class, and semantic heads count the
    classes of pixels in their own way.
    """

    def before_train(self, runner) -> None:
        """Check against the training set."""
        self._check(runner, runner.train_dataloader.dataset)
        if hasattr(runner.val_loop, 'evaluator'):
            check_truth(runner.val_loop.evaluator, runner.val_loop.dataloader.dataset)

    def before_val(self, runner) -> None:
        """Check against the validation set."""
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner) -> None:
        """Check against the test set."""
        self._check(runner, runner.test_dataloader.dataset)

    @staticmethod
    def _check(runner, dataset) -> None:
        for name, module in unwrapped(runner.model).named_modules():
            _check_class_weights(name, module)
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if classes is None:
            return
        if isinstance(classes, str):
            raise ConfigError(
                f'metainfo.classes must be a sequence of names, got the string {classes!r}; write a tuple'
            )
        things = dataset.metainfo.get('thing_classes', classes)
        for name, module in unwrapped(runner.model).named_modules():
            count = getattr(module, 'num_classes', None)
            if count is None or not getattr(module, 'predicts_dataset_classes', True):
                continue
            if isinstance(count, int) and count not in (len(classes), len(things)):
                raise ConfigError(
                    f'{name} ({type(module).__name__}) predicts num_classes={count}, but {type(dataset).__name__} has '
                    f'{len(classes)} classes: {", ".join(map(str, classes[:20]))}. Set num_classes={len(classes)} in '
                    'the config, or metainfo=dict(classes=...) of the dataset.'
                )


def check_truth(evaluator, dataset) -> None:
    """Check that samples carry the ground truth where a metric takes it from them, not from a file.

    Raises:
        ConfigError: They don't.
    """
    pipeline = getattr(dataset, 'pipeline', None)
    steps = getattr(pipeline, 'transforms', ())
    keys = getattr(steps[-1], 'meta_keys', None) if steps else None
    for metric in getattr(evaluator, 'metrics', ()):
        if getattr(metric, 'reads_instances', False) and keys is not None and 'instances' not in keys:
            raise ConfigError(
                f'{type(metric).__name__} of val_evaluator has no ann_file but takes the truth from the samples: '
                f"list it in PackDetInputs(meta_keys=(..., 'instances')) of the pipeline of val_dataloader"
            )


def _check_class_weights(name: str, head) -> None:
    """Check that a loss has one weight for each class of its head, and one for the background if it uses softmax."""
    loss = getattr(head, 'loss_cls', None)
    count = getattr(head, 'num_classes', None)
    weights = getattr(loss, 'class_weight', None)
    if not isinstance(weights, torch.Tensor) or not isinstance(count, int):
        return
    expected = count if loss.use_sigmoid else count + 1
    background = '' if loss.use_sigmoid else ', the last one for the background'
    if weights.shape != (expected,):
        raise ConfigError(
            f'{name}.loss_cls.class_weight has {weights.numel()} weights, but {type(head).__name__} with num_classes='
            f'{count} takes {expected}{background}'
        )
    if not bool((weights >= 0).all()) or not bool(weights.isfinite().all()):
        raise ConfigError(f'{name}.loss_cls.class_weight={weights.tolist()}: weights should be finite and at least 0')
