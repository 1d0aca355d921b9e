"""Training loops that can start in the middle of an epoch."""

import itertools
from collections.abc import Iterable, Sequence

import torch
from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterBasedTrainLoop
from mmengine.runner import ValLoop
from mmengine.runner.amp import autocast
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import LOOPS

from .dataloaders import refuse_empty, refuse_endless, refuse_other_batch_size
from .hooks.checks import unwrapped
from .hooks.mean_teacher_hook import pair_of
from .optim import AccumulationGroups
from .progress import Division, Position, advance, is_endless

START = Position(epoch=0, batches=0, samples=0)


def as_pairs(dynamic_intervals: Sequence[Sequence[int]] | None) -> list[tuple[int, ...]] | None:
    """Intervals of validation as mmengine wants them: tuples, which JSON and YAML configs cannot say.

    Raises:
        ConfigError: They aren't pairs of numbers.
    """
    if dynamic_intervals is None:
        return None
    given = dynamic_intervals if isinstance(dynamic_intervals, Sequence) else [dynamic_intervals]
    pairs = [tuple(pair) if isinstance(pair, Sequence) else (pair,) for pair in given]
    if not all(len(pair) == 2 and all(isinstance(number, int) for number in pair) for pair in pairs):
        raise ConfigError(
            f'dynamic_intervals={dynamic_intervals!r}; expected pairs of whole numbers, as [(280, 1)]: from epoch or '
            'iteration 280 on, validate after each.'
        )
    return pairs


def skip_seen(dataloader, seen: Position) -> Iterable:
    """The batches of ``dataloader`` after those seen; a sampler that can skip spares loading these."""
    if seen.batches == seen.samples == 0:
        return dataloader
    samples = seen.samples // Division.of(dataloader).processes
    batch_sampler = dataloader.batch_sampler
    if hasattr(batch_sampler, 'skip'):
        batch_sampler.skip(samples)
        return dataloader
    sampler = batch_sampler.sampler
    if hasattr(sampler, 'skip'):
        sampler.skip(samples if is_endless(dataloader) else min(samples, len(sampler)))
        return dataloader
    return itertools.islice(dataloader, seen.batches, None)


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEngineEpochBasedTrainLoop):
    """mmengine's loop over epochs; a run resumed in the middle of one goes on with the batch that would have come next.

    Raises:
        ConfigError: The sampler goes on without end, so that an epoch would, too.
    """

    def __init__(self, *args, dynamic_intervals: Sequence[Sequence[int]] | None = None, **kwargs) -> None:
        super().__init__(*args, dynamic_intervals=as_pairs(dynamic_intervals), **kwargs)
        refuse_other_batch_size(self.dataloader)
        refuse_empty(self.dataloader)
        because = (
            'EpochBasedTrainLoop counts epochs: use DefaultSampler, or train_cfg=dict(type="IterBasedTrainLoop", '
            'max_iters=...)'
        )
        refuse_endless(self.dataloader, 'train_dataloader', because)
        self.started_at = START

    def go_on(self, position: Position, epoch: int, iteration: int) -> None:
        """Start from a position in the data; its batches decide the iteration, so that epochs end where they should."""
        self.started_at = position
        self._epoch = position.epoch
        self._iter = position.epoch * len(self.dataloader) + position.batches

    def position_at(self, epoch: int, iteration: int) -> Position:
        """The position in the data at the end of an iteration."""
        start = self.started_at if self.started_at.epoch == epoch else Position(epoch, 0, 0)
        batches = iteration - epoch * len(self.dataloader)
        return advance(start, batches - start.batches, self.dataloader)

    def run_epoch(self) -> None:
        """Train on what is left of this epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        seen = self.position_at(self._epoch, self._iter)
        # groups of accumulated gradients end with the epoch, so that its checkpoint is complete
        groups = AccumulationGroups(self.runner.optim_wrapper, self.runner.model, seen.batches, len(self.dataloader))
        for i, data_batch in enumerate(skip_seen(self.dataloader, seen), start=seen.batches):
            self.run_iter(i, data_batch)
            if i == seen.batches:
                groups.check()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class SkippingIterator:
    """An endless iterator over batches that skips those which a resumed run has seen, without loading them."""

    def __init__(self, dataloader) -> None:
        self.dataloader = dataloader
        self.position = START
        self.iterator = None

    def __iter__(self) -> 'SkippingIterator':
        return self

    def __next__(self):
        if self.iterator is None:
            self.iterator = self._start()
        try:
            batch = next(self.iterator)
        except StopIteration:
            self.position = Position(self.position.epoch + 1, 0, 0)
            self.iterator = self._start()
            batch = next(self.iterator)
        self.position = advance(self.position, 1, self.dataloader)
        return batch

    def _start(self):
        sampler = self.dataloader.batch_sampler.sampler
        if not is_endless(self.dataloader) and hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self.position.epoch)
        return iter(skip_seen(self.dataloader, self.position))


@LOOPS.register_module()
class IterBasedTrainLoop(MMEngineIterBasedTrainLoop):
    """mmengine's loop over iterations, resumed without loading the batches already seen again."""

    def __init__(self, *args, dynamic_intervals: Sequence[Sequence[int]] | None = None, **kwargs) -> None:
        super().__init__(*args, dynamic_intervals=as_pairs(dynamic_intervals), **kwargs)
        refuse_other_batch_size(self.dataloader)
        refuse_empty(self.dataloader)
        self.dataloader_iterator = SkippingIterator(self.dataloader)

    def go_on(self, position: Position, epoch: int, iteration: int) -> None:
        """Start from an iteration, which is what this loop counts, and a position in the data."""
        self._epoch = epoch
        self._iter = iteration
        self.dataloader_iterator.position = position

    def position_at(self, epoch: int, iteration: int) -> Position:
        """The position in the data, which is that of the last batch read."""
        return self.dataloader_iterator.position

    def run(self):
        """Train until ``max_iters``."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        start = self._iter
        groups = AccumulationGroups(self.runner.optim_wrapper, self.runner.model, start, self._max_iters)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            if self._iter == start + 1:
                groups.check()
            self._decide_current_val_interval()
            if self._should_validate():
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _should_validate(self) -> bool:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and due


@LOOPS.register_module()
class TeacherStudentValLoop(ValLoop):
    """Validate the teacher, then the student; metrics have the prefix ``teacher/`` or ``student/``.

    Attributes:
        score_prefixes: What stands before the names of an evaluator's scores; hooks that look for a score know by it.

    Raises:
        ConfigError: The model isn't a pair of them.
    """

    score_prefixes = ('teacher/', 'student/')

    def run(self) -> dict[str, float]:
        """Validate both."""
        student, teacher = pair_of(self.runner.model)
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        metrics = {}
        for name, part in (('teacher', teacher), ('student', student)):
            metrics.update({f'{name}/{key}': value for key, value in self.run_part(part).items()})
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def run_part(self, part: nn.Module) -> dict[str, float]:
        """The metrics of one of them."""
        preprocessor = unwrapped(self.runner.model).data_preprocessor
        for idx, data_batch in enumerate(self.dataloader):
            self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
            data = preprocessor(data_batch, False)
            with autocast(enabled=self.fp16):
                outputs = part(**data, mode='predict')
            self.evaluator.process(data_samples=outputs, data_batch=data_batch)
            self.runner.call_hook('after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        return self.evaluator.evaluate(len(self.dataloader.dataset))
