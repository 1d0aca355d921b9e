"""Checkpoints of which one is always whole."""

import contextlib
from collections.abc import Container, Iterator
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from mmdetlike.registry import HOOKS

from ..work_dir import remove_earlier


class DeferredRemoval:
    """A file backend that removes files only when ``flush`` is called."""

    def __init__(self, backend) -> None:
        self._backend, self._pending = backend, []

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


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's checkpoints, with outdated ones removed after the new one is on disk, not before."""

    def before_train(self, runner) -> None:
        """Find out where to save; remove what a killed run had written, and what this one may overwrite."""
        super().before_train(runner)
        self._remove_unfinished()
        if runner.cfg.get('overwrite') and not runner.cfg.get('resume'):
            # not before: most of what can be wrong with this run has been found by now
            self._remove_overwritten(runner)

    @master_only
    def _remove_overwritten(self, runner) -> None:
        for path in remove_earlier(runner.cfg, runner.work_dir):
            runner.logger.info(f'overwrite: removed {path}')

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
