"""How long a model takes, measured while it is tested."""

import time

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmdetlike.engine.hooks.checks import unwrapped
from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class InferenceTimerHook(Hook):
    """Measure prediction while a model is tested, and put it into the log: seconds an image, of the model alone.

    The clock runs from the first step of the preprocessor to the last one of the model; loading of data and evaluation
    are told apart from it. A GPU is waited for at both ends, which costs a little speed. The log ends with e.g.
    ``Inference: 0.0213 s/image (model 0.0190, data 0.0021, evaluation 0.0002) over 95 images, 5 batches left out``;
    ``times`` has the numbers.

    Args:
        warmup_batches: Batches at the beginning that aren't counted; of fewer batches, all but the last one.

    Attributes:
        times: Seconds an image of the last test: ``model``, ``data``, ``evaluation``, ``total``, and ``images``, how
            many were counted; empty before.

    Raises:
        ConfigError: ``warmup_batches`` is negative.
    """

    # the first to hear of a batch and, of those that listen, near the first to hear that it is done
    priority = 'VERY_HIGH'

    def __init__(self, warmup_batches: int = 5) -> None:
        if warmup_batches < 0:
            raise ConfigError(f'InferenceTimerHook: warmup_batches={warmup_batches} should be 0 or more.')
        self.warmup_batches = warmup_batches
        self.times: dict[str, float] = {}
        # (images, seconds of data, of the model, of evaluation) of each batch
        self._batches: list[tuple[int, float, float, float]] = []
        # when something last happened
        self._marks: dict[str, float] = {}
        self._handles: list = []

    def before_test(self, runner) -> None:
        """Listen to the preprocessor and the model."""
        model = unwrapped(runner.model)
        first = model.data_preprocessor if getattr(model, 'data_preprocessor', None) is not None else model
        self._handles = [
            first.register_forward_pre_hook(lambda *_: self._mark('model_began')),
            model.register_forward_hook(lambda *_: self._mark('model_ended')),
        ]

    def before_test_epoch(self, runner) -> None:
        """Forget the last test."""
        self._batches = []
        self._mark('batch_ended')

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Note what the batch took."""
        before = self._marks['batch_ended']
        self._mark('batch_ended')
        phases = (
            self._marks['model_began'] - before,
            self._marks['model_ended'] - self._marks['model_began'],
            self._marks['batch_ended'] - self._marks['model_ended'],
        )
        self._batches.append((len(outputs), *phases))

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """Put the means into the log."""
        left_out = min(self.warmup_batches, len(self._batches) - 1)
        if left_out < 0:
            return
        images, data, model, evaluation = (sum(column) for column in zip(*self._batches[left_out:]))
        seconds = dict(model=model, data=data, evaluation=evaluation, total=model + data + evaluation)
        self.times = dict({name: value / images for name, value in seconds.items()}, images=images)
        parts = ', '.join(f'{name} {self.times[name]:.4f}' for name in ('model', 'data', 'evaluation'))
        print_log(
            f'Inference: {self.times["total"]:.4f} s/image ({parts}) over {images} images, {left_out} batches left out',
            logger='current',
        )

    def after_test(self, runner) -> None:
        """Stop listening."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _mark(self, name: str) -> None:
        # kernels run on after the call that starts them returns
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self._marks[name] = time.perf_counter()
