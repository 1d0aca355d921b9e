"""Files that are whole or absent, whenever the process that writes them is killed."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write to; it has its name only once the block has ended without an error.

    Its folder is made. Readers of the folder pass over what is unfinished, whose name begins with a dot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # two processes may write the same file for a moment, as when a cluster takes one of them for dead: on two machines
    # even their numbers may be equal
    unfinished = path.with_name(f'.{path.name}.{socket.gethostname()}.{os.getpid()}.tmp')
    try:
        with open(unfinished, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise a machine that goes down may leave the name without the content
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or absent, also if the process is killed or the machine goes down."""
    with whole_file(path) as file:
        file.write(content)
