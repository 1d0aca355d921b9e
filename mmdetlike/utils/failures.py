"""Turning an exception into the one sentence that a command-line tool prints, whoever raised it."""

import builtins
import errno
import os
import re
import sys
import traceback
from pathlib import Path

import mmdetlike
from mmdetlike.errors import ConfigError, UserError

PACKAGE = Path(mmdetlike.__file__).parent
KERNELS = PACKAGE.with_name('mmdetlike_ops')
WORKER_TRACEBACK = 'Original Traceback'
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def sentence(error: BaseException) -> str:
    """One line about ``error``: its message where that is written for users, else what is known about its cause."""
    # an error whose class takes several arguments comes as a RuntimeError
    kind = (_raised_in_worker(error) or (type(error),))[0]
    if issubclass(kind, UserError):
        return f'{"error" if issubclass(kind, ConfigError) else kind.__name__}: {_message(error)}'
    if isinstance(error, OSError):
        return f'{type(error).__name__}: {_of_system(error)}'
    if isinstance(error, UnicodeEncodeError):
        return (
            f"error: {error.object[:100]!r} can't be written in {error.encoding}: set the locale to UTF-8 (export "
            'LC_ALL=C.UTF-8), or give it another name'
        )
    if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError':
        return f'out of memory: {_first_line(error)} Smaller pictures or train_dataloader.batch_size need less.'
    if isinstance(error, RuntimeError) and str(error).startswith('DataLoader worker'):
        return f'error: a process that loads data has been ended, often for want of memory: {_first_line(error)}'
    if isinstance(error, ValueError) and _is_ours(error):
        return f'error: {_message(error)}'
    return (
        f'internal error: {type(error).__name__}: {_first_line(error)} ({_place(error)}). Run again with --debug for '
        'the traceback.'
    )


def _raised_in_worker(error: BaseException) -> tuple[type, str] | None:
    """Class and message of a DataLoader worker's exception, which torch raises again with its traceback as message."""
    if WORKER_TRACEBACK not in str(error):
        return None
    starts = list(re.finditer(r'^([\w.]+(?:Error|Exception|Interrupt))\b(?:: )?', str(error), flags=re.MULTILINE))
    if not starts:
        return None
    from mmengine.utils import get_object_from_string

    kind = getattr(builtins, starts[-1][1], None) or get_object_from_string(starts[-1][1])
    return kind or type(error), str(error)[starts[-1].end() :].strip()


def _message(error: BaseException) -> str:
    in_worker = _raised_in_worker(error)
    return str(error) if in_worker is None else in_worker[1]


def _first_line(error: BaseException) -> str:
    lines = _message(error).strip().splitlines()
    return lines[0] if lines else 'without a message'


def _of_system(error: OSError) -> str:
    if error.strerror is None or error.errno is None:
        return _message(error)
    files = ' -> '.join(repr(str(name)) for name in (error.filename, error.filename2) if name is not None)
    if isinstance(error, FileExistsError) and os.path.isfile(error.filename):
        return f'{files} is a file where a folder is needed'
    advice = '; free some space' if error.errno in DISK_ERRORS else ''
    return f'{files}: {error.strerror}{advice}' if files else f'{error.strerror}{advice}'


def _is_ours(error: BaseException) -> bool:
    """Whether a line of the packages, or of the tool that runs, raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    raised_in = Path(frames[-1].filename).resolve()
    return (
        raised_in.is_relative_to(PACKAGE)
        or raised_in.is_relative_to(KERNELS)
        or raised_in == Path(sys.argv[0]).resolve()
    )


def _place(error: BaseException) -> str:
    """The innermost line of the product that took part, else the innermost one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name != 'run_tool']
    own = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(PACKAGE)]
    frame = (own or frames or [None])[-1]
    return f'{os.path.relpath(frame.filename, PACKAGE.parent)}:{frame.lineno}' if frame else 'unknown place'
