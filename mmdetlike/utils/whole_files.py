"""Writing files so that a reader sees the old content or the new, never a part of it."""

import contextlib
import os
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
