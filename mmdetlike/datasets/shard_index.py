"""The index of a sharded data set: which shards there are, how many samples each has, and the names of the classes.

A sharded data set is a folder, on a disk or in an object store, of `index.json` and of shards: files of some hundred
samples each, whose pictures and annotations are read together.
"""

import json
import posixpath
from dataclasses import asdict, dataclass

from .annotations import shortened
from .errors import DataError

INDEX = 'index.json'
VERSION = 1
FORMATS = ('tar', 'parquet')


@dataclass(frozen=True)
class ShardEntry:
    """A shard: the name of its file, the size of it in bytes, and the number of its samples."""

    name: str
    bytes: int
    samples: int


@dataclass(frozen=True)
class ShardIndex:
    """What `index.json` says.

    Attributes:
        format: 'tar' or 'parquet'.
        classes: Names; labels in the shards are positions in this list.
        shards: In the order of their samples.
    """

    format: str
    classes: tuple[str, ...]
    shards: tuple[ShardEntry, ...]

    def to_json(self) -> bytes:
        """The content of the file."""
        content = {
            'version': VERSION,
            'format': self.format,
            'classes': list(self.classes),
            'shards': [asdict(entry) for entry in self.shards],
        }
        return json.dumps(content, indent=1, ensure_ascii=False).encode()


def parse_index(content: bytes, source: str) -> ShardIndex:
    """Read the content of an `index.json`.

    Args:
        content: Of the file.
        source: The file, for messages.

    Raises:
        DataError: It isn't an index, or one of another version.
    """
    try:
        fields = json.loads(content)
        version = fields['version']
    except (ValueError, KeyError, TypeError):
        raise DataError(f'{source}: expected the index of a sharded data set, got {shortened(content)}.') from None
    if version != VERSION:
        raise DataError(f'{source}: its version is {version!r}, this release reads version {VERSION}: write it again.')
    try:
        entries = tuple(_entry(entry) for entry in fields['shards'])
        index = ShardIndex(fields['format'], tuple(map(str, fields['classes'])), entries)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{source}: expected a format, a list of classes and shards of name, bytes and samples ({error!r}).'
        ) from None
    if index.format not in FORMATS:
        raise DataError(f'{source}: the format {index.format!r} is unknown; expected {" or ".join(FORMATS)}.')
    return index


def _entry(fields: dict) -> ShardEntry:
    entry = ShardEntry(**fields)
    if type(entry.bytes) is not int or type(entry.samples) is not int:
        raise TypeError(f'shard {entry}')
    if posixpath.basename(entry.name) != entry.name or min(entry.bytes, entry.samples) < 0:
        raise ValueError(f'shard {entry}')
    return entry
