"""Saving checkpoints so that a whole one is on disk at any time."""

import contextlib
from collections.abc import Container, Iterator
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from mmdetlike.registry import HOOKS
from mmdetlike.utils.checkpoint import plain_checkpoint

from ..work_dir import goes_on, put_aside, remove_earlier


class DeferredRemoval:
    """A file backend that removes files only when ``flush`` is called."""

    def __init__(self, backend) -> None:
        self._backend = backend
        self._pending: list[tuple] = []

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Remember to remove a file."""
        self._pending.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        """Remember to remove a folder."""
        self._pending.append((self._backend.rmtree, path))

    def flush(self, keep: Container[str | None]) -> None:
        """Remove what was to be removed, but none of ``keep``."""
        for remove, path in self._pending:
            if path not in keep:
                with contextlib.suppress(FileNotFoundError):
                    remove(path)


def state_without_weights(runner) -> dict:
    """What a checkpoint of this run would hold beside the weights, to check before training that it can be stored."""
    return dict(
        meta=dict(dataset_meta=getattr(runner.train_dataloader.dataset, 'metainfo', None)),
        message_hub=runner.message_hub.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        param_schedulers=_states(runner.param_schedulers),
    )


def _states(schedulers):
    if isinstance(schedulers, dict):
        return {name: _states(part) for name, part in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers or []]


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, writing only checkpoints that can be read again.

    Outdated ones are removed after the new one is on disk, not before.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # mmengine hands them on to Runner.save_checkpoint, which takes nothing more: an error after the first epoch
        for name in self.args:
            raise TypeError(f'CheckpointHook.__init__() got an unexpected keyword argument {name!r}')

    def before_train(self, runner) -> None:
        """Find out where to save; remove what a killed run had written, and make room for what this one writes.

        Raises:
            CheckpointError: The run has a state that no checkpoint can hold; the message names it.
        """
        super().before_train(runner)
        self._remove_unfinished()
        plain_checkpoint(state_without_weights(runner))
        if not goes_on(runner.cfg, runner.work_dir):
            # not before: most of what can be wrong with this run has been found by now
            self._make_room(runner)

    @master_only
    def _make_room(self, runner) -> None:
        if runner.cfg.get('overwrite'):
            for path in remove_earlier(runner.cfg, runner.work_dir):
                runner.logger.info(f'overwrite: removed {path}')
            return
        moved = put_aside(runner.cfg, runner.work_dir)
        if moved is not None:
            folder, count = moved
            runner.logger.warning(
                f'{folder.parent} held {count} checkpoints of an earlier training, which are in {folder.name} now. '
                'To go on from them in place of starting anew: --resume; to have them removed: --overwrite'
            )

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Save the best checkpoint, but not of a validation by itself (``Runner.val``), which has trained nothing."""
        if hasattr(self, 'file_backend'):  # set before training
            super().after_val_epoch(runner, metrics or {})

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Convert what will be written to plain values, which our reader takes."""
        checkpoint.update(plain_checkpoint(checkpoint))

    @master_only
    def _remove_unfinished(self) -> None:
        if '://' not in str(self.out_dir):
            for path in Path(self.out_dir).glob('.*.pth.*.tmp'):
                path.unlink(missing_ok=True)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with self._remove_after_success() as backend:
            super()._save_checkpoint_with_step(runner, step, meta)
            backend.flush(keep=[self.last_ckpt])

    def _save_best_checkpoint(self, runner, metrics) -> None:
        with self._remove_after_success() as backend:
            super()._save_best_checkpoint(runner, metrics)
            backend.flush(
                keep=[getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
            )

    @contextlib.contextmanager
    def _remove_after_success(self) -> Iterator[DeferredRemoval]:
        backend = self.file_backend
        self.file_backend = DeferredRemoval(backend)
        try:
            yield self.file_backend
        finally:
            self.file_backend = backend
