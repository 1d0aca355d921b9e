"""Writing files, and folders of them, so that a reader sees the old content or the new, never a part of it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the name ``path`` when the block ends without an exception.

    Until then it stands beside ``path`` under a name that begins with a dot, which readers of folders pass over, and
    that no other process chooses. Its content is on the disk before it is renamed, so that a process killed and a
    machine gone down leave what was there before. Folders that are missing are made.

    Args:
        path: Where the content goes; a file that is there is replaced.

    Yields:
        The file, open for writing bytes; ``name`` is its path until then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = tempfile.NamedTemporaryFile(prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent, delete=False)  # noqa: SIM115
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o666 & ~_umask())  # a temporary file is readable by its owner alone
        os.replace(file.name, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.name)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path`` by ``whole_file``."""
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder to write files to, which go to the folder ``path`` when the block ends without an exception.

    Until then they stand in a folder under a name that begins with a dot, so that a block that fails, or is killed,
    leaves ``path`` as it was. Files that are there already are replaced, others stay.

    Args:
        path: Where the files go, in folders as they stand.

    Yields:
        The folder to write to.

    Raises:
        NotADirectoryError: ``path`` is a file.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f'{path} is a file; expected a folder to write to.')
    # on the same disk as ``path``, so that files are renamed and not copied
    parent = path if path.is_dir() else path.parent
    parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix='.unfinished.', dir=parent))
    try:
        yield staged
        for file in sorted(file for file in staged.rglob('*') if file.is_file()):
            target = path / file.relative_to(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk, too, where the file system can do that."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
