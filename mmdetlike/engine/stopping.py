"""Ending a run cleanly when it is stopped from outside: by Ctrl-C, or by SIGTERM as schedulers send it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from mmdetlike.utils.checkpoint import checkpoint_files
from mmdetlike.utils.command import DEBUG_VARIABLE, is_first_process

from .work_dir import checkpoint_folder

STATUS = 128  # plus the signal's number: the status that shells give to a process that a signal has ended


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; a ``KeyboardInterrupt``, as of Ctrl-C, so that the same code cleans up."""


@contextlib.contextmanager
def stoppable(saved: Callable[[], str]) -> Iterator[None]:
    """Within this context Ctrl-C and SIGTERM end the process with one sentence, once files and workers are closed.

    Args:
        saved: Says what of the work done so far can be used.

    Raises:
        SystemExit: It was stopped; the status is 130 for Ctrl-C and 143 for SIGTERM.
    """
    with _raised_on_sigterm(), _ignored_by_children():
        try:
            yield
        except KeyboardInterrupt as stop:
            if os.environ.get(DEBUG_VARIABLE, '0') not in ('', '0'):
                raise
            number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
            signal.signal(number, signal.SIG_DFL)  # who asks once more doesn't want to wait for the workers' end
            # torch raises an error when a loading process is ended, as they are where the signal goes to all
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if is_first_process():
                print(f'{"terminated" if number == signal.SIGTERM else "interrupted"}; {saved()}', file=sys.stderr)
            sys.exit(STATUS + number)


@contextlib.contextmanager
def _raised_on_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets the main thread alone have handlers
        return

    def stop(*_) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, before)


class _Children:
    """Whether processes forked from this one ignore Ctrl-C and leave it to this one to end them.

    The terminal sends Ctrl-C to all processes; those that load data would end in the middle of handing over a batch,
    with a traceback.
    """

    ignore = False

    @classmethod
    def begin(cls) -> None:
        """Called first in every forked process."""
        if cls.ignore:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_Children.begin)


@contextlib.contextmanager
def _ignored_by_children() -> Iterator[None]:
    _Children.ignore = True
    try:
        yield
    finally:
        _Children.ignore = False


def saved_training(cfg, since: float) -> str:
    """A sentence about the newest checkpoint of a training that is stopped now, and how to go on from it.

    Args:
        cfg: Its config.
        since: When it began, in seconds since the epoch: what is older is an earlier training's, unless it resumes.
    """
    found = checkpoint_files(checkpoint_folder(cfg, cfg.work_dir))
    own = [path for path in found if cfg.get('resume') or path.stat().st_mtime >= since]
    if not own:
        return 'no checkpoint had been saved yet'
    return f'the newest checkpoint is {own[0]}: go on from it with --resume and the same --work-dir'
