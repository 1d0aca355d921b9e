"""Annotations as they were loaded before, so that a second start needn't read a large file again.

They are kept in a folder of the user, never beside the annotation file: reading them runs what their writer put in,
who must be the user.
"""

import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

import mmdetlike

from .errors import warn_once

FOLDER_VARIABLE = 'MMDETLIKE_CACHE'  # folder of the cache; 'off' for none
SMALLEST_FILE = 32 * 2**20  # bytes; what is smaller loads about as fast without a cache
KEPT = 16  # entries, of which the least recently used ones go first
_ARRAY = 'data_bytes.npy'
_REST = 'rest.pickle'
_SOURCES = ('datasets', 'structures/mask')  # whose code decides what is loaded


class AnnotationCache:
    """The entry of an annotation file that was loaded with some options.

    It is another entry if the file's size or time of change, an option, or the code that loads it differs.

    Args:
        path: The annotation file.
        options: What else decides what is loaded; compared as text.
    """

    def __init__(self, path: str, options: dict) -> None:
        self.path = path
        self.folder = cache_folder()
        found = os.stat(path)
        facts = [os.path.abspath(path), found.st_size, found.st_mtime_ns, sorted(options.items()), _code_version()]
        name = hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
        self.entry = None if self.folder is None else self.folder / name

    def read(self) -> dict | None:
        """What was kept by ``write``; None if there is nothing, it is damaged, or it is another user's."""
        if self.entry is None or not self.entry.is_dir() or not _is_mine(self.entry):
            return None
        try:
            state = pickle.loads((self.entry / _REST).read_bytes())
            state['data_bytes'] = np.load(self.entry / _ARRAY, mmap_mode='r')  # shared by all processes that read it
            os.utime(self.entry)
        except (OSError, ValueError, EOFError, AttributeError, ImportError, pickle.UnpicklingError):
            shutil.rmtree(self.entry, ignore_errors=True)
            return None
        print_log(f'{self.path}: as loaded before, from {self.entry} ({FOLDER_VARIABLE}=off reads it anew).', 'current')
        return state

    def write(self, state: dict) -> None:
        """Keep the attributes of a dataset that was loaded, ``data_bytes`` among them; one that can't is told once."""
        if self.entry is None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix='.new-') as folder:
                new = Path(folder) / 'entry'
                new.mkdir()
                np.save(new / _ARRAY, state['data_bytes'])
                (new / _REST).write_bytes(pickle.dumps({k: v for k, v in state.items() if k != 'data_bytes'}))
                with contextlib.suppress(FileExistsError):
                    if not self.entry.exists():  # another process may have been as fast
                        new.rename(self.entry)
            self._drop_old_entries()
        except (OSError, pickle.PicklingError, TypeError, AttributeError) as error:
            warn_once(
                f'{self.path}: what was loaded cannot be kept in {self.folder} for the next start ({error}); '
                f'{FOLDER_VARIABLE} names another folder.',
                key='annotation cache',
            )

    def _drop_old_entries(self) -> None:
        entries = sorted(self.folder.iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEPT:]:
            shutil.rmtree(entry, ignore_errors=True)


def cache_folder() -> Path | None:
    """The folder of the entries; None if the user wants none or has no home."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen == 'off':
        return None
    try:
        caches = os.environ.get('XDG_CACHE_HOME') or Path('~/.cache').expanduser()
    except RuntimeError:  # no home
        return None
    return Path(chosen).expanduser() if chosen else Path(caches) / 'mmdetlike' / 'annotations'


def _is_mine(entry: Path) -> bool:
    return not hasattr(os, 'getuid') or entry.stat().st_uid == os.getuid()


def _code_version() -> list[tuple]:
    """Size and time of change of the files that load annotations."""
    package = Path(mmdetlike.__file__).parent
    files = sorted(path for folder in _SOURCES for path in (package / folder).glob('*.py'))
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
