"""Training loops that can start in the middle of an epoch."""

import itertools
from collections.abc import Iterable

from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterBasedTrainLoop

from mmdetlike.registry import LOOPS


def skip_batches(dataloader, count: int) -> Iterable:
    """The batches of ``dataloader`` after the first ``count``, which are not even loaded where its sampler can skip."""
    if count == 0:
        return dataloader
    batch_sampler = dataloader.batch_sampler
    samples = count * batch_sampler.batch_size
    if hasattr(batch_sampler, 'skip'):
        batch_sampler.skip(samples)
        return dataloader
    sampler = batch_sampler.sampler
    if hasattr(sampler, 'skip'):
        # the last batch of an epoch may be a small one
        sampler.skip(samples if getattr(sampler, 'endless', False) else min(samples, len(sampler)))
        return dataloader
    return itertools.islice(dataloader, count, None)


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEngineEpochBasedTrainLoop):
    """mmengine's epochs; a run resumed in the middle of one goes on with the batch that would have come next."""

    def run_epoch(self) -> None:
        """Train on what is left of this epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        for i, data_batch in enumerate(skip_batches(self.dataloader, done), start=done):
            self.run_iter(i, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class SkippingIterator:
    """Batches without end; the ones a resumed run has seen are skipped before the first is loaded."""

    def __init__(self, dataloader) -> None:
        self.dataloader, self.to_skip, self.epoch = dataloader, 0, 0
        self.iterator = None

    def __iter__(self) -> 'SkippingIterator':
        return self

    def __next__(self):
        if self.iterator is None:
            self.iterator = self._start()
        try:
            return next(self.iterator)
        except StopIteration:
            self.epoch += 1
            self.iterator = self._start()
            return next(self.iterator)

    def _start(self):
        sampler = self.dataloader.batch_sampler.sampler
        if not getattr(sampler, 'endless', False):
            passed, self.to_skip = divmod(self.to_skip, len(self.dataloader))
            self.epoch += passed
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(self.epoch)
        skipped, self.to_skip = self.to_skip, 0
        return iter(skip_batches(self.dataloader, skipped))


@LOOPS.register_module()
class IterBasedTrainLoop(MMEngineIterBasedTrainLoop):
    """mmengine's iterations, resumed without loading again the batches already seen."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.dataloader_iterator = SkippingIterator(self.dataloader)

    def run(self):
        """Train until ``max_iters``."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.dataloader_iterator.to_skip = self._iter
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self._should_validate():
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _should_validate(self) -> bool:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and due
