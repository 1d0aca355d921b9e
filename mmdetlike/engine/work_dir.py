"""Guards of the work folder: no two trainings at once, and what an earlier one left is put aside by a new one."""

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process

from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint import checkpoint_files

try:
    import fcntl
except ImportError:  # Windows, where two trainings at once go unnoticed
    fcntl = None

LOCK = '.training.lock'
# what a training writes into its work folder beside checkpoints
OF_A_TRAINING = ('last_checkpoint', 'curves.png', 'predictions.png', 'report.html')


def checkpoint_folder(cfg, work_dir: str) -> Path:
    """The folder for the checkpoints of a config's run: its work folder, or one of that name in ``out_dir``.

    Raises:
        ConfigError: ``out_dir`` is no path.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = hook.get('out_dir')
    if not isinstance(out_dir, (str, Path, type(None))):
        raise ConfigError(f'default_hooks.checkpoint.out_dir={out_dir!r}: expected the path of a folder, or None')
    if out_dir is None or '://' in str(out_dir):
        return Path(work_dir)
    return Path(out_dir) / Path(work_dir).name


def earlier_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a training that used this folder, the newest first."""
    best = folder.glob('best_*.pth')
    return [*checkpoint_files(folder), *sorted(best)]


def goes_on(cfg, work_dir: str) -> bool:
    """Whether a training goes on from a checkpoint of its own folder, in which case it adds to what is there."""
    source = cfg.get('load_from')
    folder = checkpoint_folder(cfg, work_dir)
    return bool(cfg.get('resume')) and (source is None or Path(source).resolve().parent == folder.resolve())


def check_work_dir(cfg, work_dir: str) -> None:
    """Refuse a work folder that a training can't use, or can't go on from.

    Raises:
        ConfigError: It is an address, of which a folder of that name would be made; or the training should resume from
            what is there, which is nothing but a best checkpoint.
    """
    if '://' in str(work_dir):
        raise ConfigError(f'work_dir={work_dir!r} is an address: a training writes to a folder of this machine')
    folder = checkpoint_folder(cfg, work_dir)
    found = earlier_checkpoints(folder)
    if goes_on(cfg, work_dir) and cfg.get('load_from') is None and found and not checkpoint_files(folder):
        raise ConfigError(
            f'{folder} holds no checkpoint of an epoch or iteration to resume from, but {found[0].name} of an earlier '
            f'training: go on from it with --resume {found[0]}, or choose another folder with --work-dir'
        )


def put_aside(cfg, work_dir: str) -> tuple[Path, int] | None:
    """Move what an earlier training left, so that this one neither replaces it nor is taken for it.

    Checkpoints and pictures go into a folder of their own, named by the time of the newest; logs and configs of each
    run have theirs already.

    Returns:
        The folder and the number of checkpoints, or None if there were none.
    """
    folder = checkpoint_folder(cfg, work_dir)
    found = earlier_checkpoints(folder)
    if not found:
        return None
    newest = max(path.stat().st_mtime for path in found)
    aside = _new_folder(folder, time.strftime('earlier_%Y%m%d_%H%M%S', time.localtime(newest)))
    for path in [*found, *(Path(work_dir) / name for name in OF_A_TRAINING)]:
        if path.is_file():
            path.rename(aside / path.name)
    return aside, len(found)


def _new_folder(parent: Path, name: str) -> Path:
    names = itertools.chain([name], (f'{name}_{i}' for i in itertools.count(2)))
    folder = next(parent / each for each in names if not (parent / each).exists())
    folder.mkdir()
    return folder


def remove_earlier(cfg, work_dir: str) -> list[Path]:
    """Remove the checkpoints of an earlier training, but not the one that this training starts from."""
    folder = checkpoint_folder(cfg, work_dir)
    keep = Path(cfg.get('load_from') or '/nonexistent').resolve()
    removed = [path for path in earlier_checkpoints(folder) if path.resolve() != keep]
    for path in [*removed, Path(work_dir) / 'last_checkpoint']:
        path.unlink(missing_ok=True)
    return removed


@contextlib.contextmanager
def sole_training(work_dir: str) -> Iterator[None]:
    """Within this context no other process can train in a folder; all processes of one training count as one.

    Raises:
        ConfigError: Another training is at work there.
    """
    lock, message = _lock(Path(work_dir) / LOCK) if is_main_process() else (None, None)
    answers = [message]
    broadcast_object_list(answers)
    if answers[0] is not None:
        raise ConfigError(answers[0])
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _lock(path: Path):
    """Lock a file; return it and None, or None and the reason why it could not be locked.

    The lock is one of the process (``lockf``), which ends with it however it is killed; one of the file (``flock``)
    would live on in the data loader's workers.
    """
    if fcntl is None:
        return None, None
    file = path.open('a+')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        return None, (
            f'another training is at work in {path.parent} ({owner}): wait for it, or choose another folder with '
            '--work-dir'
        )
    except OSError:  # a file system without locks
        return file, None
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}')
    file.flush()
    return file, None
