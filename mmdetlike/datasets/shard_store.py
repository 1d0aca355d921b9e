"""Where shards are: a local folder, or an address whose shards are copied to a local disk as they are needed."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError
from ..utils.packages import install_command
from ..utils.whole_files import whole_file
from .errors import DataError
from .shard_index import INDEX, ShardEntry, ShardIndex, parse_index

# of what comes over a network, which fails now and then: a training should not end for that
_TRIES = 4
_PAUSE = 1.0  # seconds after the first failure, twice as many after each further one


class ShardStore:
    """The folder of a sharded data set, which fsspec opens.

    Args:
        folder: A path, or an address that fsspec understands: `s3://bucket/train`, `https://host/train`.
        cache_dir: Folder on a local disk for copies of shards that are not local; processes may share it.
        max_cached: Copies of this data set that are kept there; beyond it the one that was used longest ago goes.

    Raises:
        ConfigError: fsspec lacks what this kind of address needs, or there is no `cache_dir` for one.
    """

    def __init__(self, folder: str, cache_dir: str | None = None, max_cached: int = 64) -> None:
        if isinstance(max_cached, bool) or not isinstance(max_cached, int) or max_cached < 1:
            raise ConfigError(f'max_cached={max_cached!r} should be a whole number of at least 1.')
        self.folder = folder.rstrip('/')
        self.max_cached = max_cached
        self._opened_by = -1
        is_local = 'file' in _protocols(self._file_system())
        if not is_local and cache_dir is None:
            raise ConfigError(
                f'shards={folder!r} is not on a local disk: set cache_dir to a folder on one, for copies of the shards '
                f'in use.'
            )
        # data sets may share cache_dir although their shards have the same names
        digest = hashlib.sha256(self.folder.encode()).hexdigest()[:16]
        self._cache = None if is_local else Path(cache_dir).expanduser() / digest

    def _file_system(self):
        """The file system of fsspec, opened by this process: its connections do not survive the fork of workers."""
        if self._opened_by != os.getpid():
            self._system, self._root = _open_folder(self.folder)
            self._opened_by = os.getpid()
        return self._system

    def read_index(self) -> ShardIndex:
        """What the folder's `index.json` says.

        Raises:
            FileNotFoundError: There is none.
            DataError: It isn't an index.
        """
        source = f'{self.folder}/{INDEX}'
        try:
            content = self._fetched(lambda: self._file_system().cat_file(f'{self._root}/{INDEX}'))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{source} does not exist: shards should be a folder that tools/dataset_converters/to_shards.py has '
                f'written to the end.'
            ) from error
        except OSError as error:
            raise DataError(f'{source} cannot be read: {error}.') from error
        return parse_index(content, source)

    def local_file(self, entry: ShardEntry) -> str:
        """The path of a shard on a local disk, to which it is copied if it isn't there.

        Raises:
            FileNotFoundError: There is no such shard.
            DataError: It isn't of the size that the index gives, or can't be copied.
        """
        path = Path(self._root, entry.name) if self._cache is None else self._cached(entry)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise FileNotFoundError(f'{self.folder}/{entry.name} does not exist, but {INDEX} names it.') from None
        if size != entry.bytes:
            raise DataError(
                f'{self.folder}/{entry.name} has {size} bytes, but {entry.bytes} according to {INDEX}: it is truncated '
                f'or from another conversion.'
            )
        return str(path)

    def _cached(self, entry: ShardEntry) -> Path:
        path = self._cache / entry.name
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)  # it is in use: others go first
            return path
        from filelock import FileLock

        self._cache.mkdir(parents=True, exist_ok=True)
        # of the processes of this machine that need a shard, one copies it
        with FileLock(self._cache / f'.{entry.name}.lock'):
            if not path.is_file():
                self._copy(entry, path)
        return path

    def _copy(self, entry: ShardEntry, path: Path) -> None:
        try:
            with whole_file(path) as file:
                self._fetched(lambda: self._file_system().get_file(f'{self._root}/{entry.name}', file.name))
                self._make_room()
        except FileNotFoundError:
            raise FileNotFoundError(f'{self.folder}/{entry.name} does not exist, but {INDEX} names it.') from None
        except OSError as error:
            raise DataError(f'{self.folder}/{entry.name} cannot be copied to {path}: {error}.') from error

    def _fetched(self, fetch: Callable):
        """What a call to the file system returns, made again if it fails for another reason than a missing file.

        Raises:
            OSError: It still fails.
        """
        if self._cache is None:
            return fetch()
        for number in range(_TRIES):
            try:
                return fetch()
            except FileNotFoundError:
                raise
            except Exception as error:  # each kind of address has a client with errors of its own
                failure = error
            if number + 1 < _TRIES:
                time.sleep(_PAUSE * 2**number)
        raise OSError(f'{str(failure) or type(failure).__name__}, {_TRIES} times') from failure

    def _make_room(self) -> None:
        """Remove the copies used longest ago, so that one more is not too many.

        Who has one open goes on reading it, as files without a name live on until they are closed; who wants it
        afterwards copies it again.
        """
        copies = []
        for path in self._cache.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process removes some, too
                if not path.name.startswith('.'):
                    copies.append((path.stat().st_mtime, path))
        for _, path in sorted(copies)[: max(len(copies) - self.max_cached + 1, 0)]:
            path.unlink(missing_ok=True)


def _open_folder(folder: str):
    """The file system of fsspec, and the folder's path in it."""
    try:
        import fsspec.core
    except ImportError as error:
        raise ConfigError(f'streaming needs fsspec: {install_command("streaming")} ({error})') from error
    try:
        return fsspec.core.url_to_fs(folder, skip_instance_cache=True)
    except (ImportError, ValueError) as error:
        raise ConfigError(f'shards={folder!r}: fsspec cannot open this address: {error}') from error


def _protocols(system) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
