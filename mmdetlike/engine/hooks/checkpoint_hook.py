"""Checkpoints of which one is always whole."""

import contextlib
from collections.abc import Iterator

from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from mmdetlike.registry import HOOKS


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

    def flush(self, keep: str | None) -> None:
        """Remove what was to be removed, but never ``keep``."""
        for remove, path in self._pending:
            if path != keep:
                with contextlib.suppress(FileNotFoundError):
                    remove(path)


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's checkpoints, with outdated ones removed after the new one is on disk, not before."""

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with self._remove_after_success() as backend:
            super()._save_checkpoint_with_step(runner, step, meta)
            backend.flush(keep=self.last_ckpt)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        with self._remove_after_success() as backend:
            super()._save_best_checkpoint(runner, metrics)
            backend.flush(keep=getattr(self, 'best_ckpt_path', None))

    @contextlib.contextmanager
    def _remove_after_success(self) -> Iterator[DeferredRemoval]:
        backend = self.file_backend
        self.file_backend = DeferredRemoval(backend)
        try:
            yield self.file_backend
        finally:
            self.file_backend = backend
