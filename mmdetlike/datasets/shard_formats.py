"""Shards on disk: tar files as WebDataset has them, and Parquet files; samples are read one by one.

A sample is a picture, as its file had it, and its annotations as JSON. In a tar file they are two members of one name
before the first dot, `000000007.jpg` and `000000007.json`; in a Parquet file they are the columns `image` and
`annotations` of a row.
"""

import io
import posixpath
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from typing import IO, NamedTuple

from ..errors import ConfigError
from ..utils.packages import install_command
from .errors import DataError, ImageError

ANNOTATION_SUFFIX = '.json'
# Of Parquet, a group of rows is what can be read at once: small ones, since samples are read in any order.
ROWS_AT_ONCE = 8
# pictures are compressed already; checksums tell of each wrong bit
PARQUET_SETTINGS = dict(row_group_size=ROWS_AT_ONCE, compression='none', use_dictionary=False, write_page_checksum=True)
_KNOWN_SHARDS = 64  # whose tables of members a process keeps
_OPEN_SHARDS = 8  # Parquet files that a process keeps open, mapped to memory


class RawSample(NamedTuple):
    """A sample of a shard: the name of its picture, its annotations as JSON, the encoded picture."""

    name: str
    annotations: bytes
    picture: bytes


class Span(NamedTuple):
    """The part of a file that holds a member of a tar file."""

    start: int
    size: int


class TarRow(NamedTuple):
    """The two members of a sample."""

    name: str
    annotations: Span
    picture: Span


def write_tar(samples: Sequence[RawSample], first: int, file: IO[bytes]) -> None:
    """Write samples as a tar file, the same bytes for the same samples.

    Args:
        samples: Their names say the suffix of the picture.
        first: The number of the first one; the names of members are numbers, as WebDataset cuts names at any dot.
        file: Where to write.
    """
    # GNU, not the default PAX: every reader of tar knows it
    with tarfile.open(fileobj=file, mode='w', format=tarfile.GNU_FORMAT) as archive:
        for number, sample in enumerate(samples, first):
            suffix = posixpath.splitext(sample.name)[1].lower()
            members = [(suffix, sample.picture), (ANNOTATION_SUFFIX, sample.annotations)]
            for ending, content in members:
                member = tarfile.TarInfo(f'{number:09d}{ending}')
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_parquet(samples: Sequence[RawSample], first: int, file: IO[bytes]) -> None:
    """Write samples as a Parquet file with the columns `key`, `image` and `annotations`."""
    pa = _pyarrow()
    table = pa.table(
        {
            'key': pa.array([sample.name for sample in samples], pa.string()),
            'image': pa.array([sample.picture for sample in samples], pa.binary()),
            'annotations': pa.array([sample.annotations.decode() for sample in samples], pa.string()),
        }
    )
    pa.parquet.write_table(table, file, **PARQUET_SETTINGS)


def read_annotations(kind: str, path: str, row: int) -> bytes:
    """The annotations of a sample, without reading its picture.

    Args:
        kind: 'tar' or 'parquet'.
        path: The shard, a local file.
        row: The sample's index in the shard.

    Raises:
        DataError: The shard isn't one, or has no such sample.
    """
    if kind == 'tar':
        return _span_of(path, _tar_row(path, row).annotations)
    return _parquet_cell(path, 'annotations', row).encode()


def read_picture(kind: str, path: str, row: int) -> tuple[str, bytes]:
    """The name and the encoded picture of a sample; arguments and errors are those of `read_annotations`."""
    if kind == 'tar':
        entry = _tar_row(path, row)
        return entry.name, _span_of(path, entry.picture)
    return _parquet_cell(path, 'key', row), _parquet_cell(path, 'image', row)


def check_shard(kind: str, path: str, samples: int) -> None:
    """Find out whether a shard has as many samples as its index says.

    Raises:
        DataError: It has another number, or isn't a shard.
    """
    found = len(_tar_table(path)) if kind == 'tar' else _parquet_file(path).metadata.num_rows
    if found != samples:
        raise DataError(f'{path}: it has {found} samples, but {samples} according to index.json: write it again.')


def _tar_row(path: str, row: int) -> TarRow:
    table = _tar_table(path)
    if row >= len(table):
        raise DataError(f'{path}: it has {len(table)} samples, sample {row} is asked for: write it again.')
    return table[row]


@lru_cache(maxsize=_KNOWN_SHARDS)
def _tar_table(path: str) -> tuple[TarRow, ...]:
    """The members of each sample, in the order of the file."""
    try:
        with tarfile.open(path, 'r:') as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f'{path}: not a whole tar file without compression ({error}).') from error
    samples: dict[str, list[tarfile.TarInfo]] = {}
    for member in members:
        folder, name = posixpath.split(member.name)
        samples.setdefault(posixpath.join(folder, name.split('.')[0]), []).append(member)
    return tuple(_tar_entry(path, name, parts) for name, parts in samples.items())


def _tar_entry(path: str, name: str, parts: list[tarfile.TarInfo]) -> TarRow:
    annotations = [part for part in parts if part.name.lower().endswith(ANNOTATION_SUFFIX)]
    pictures = [part for part in parts if part not in annotations]
    if len(annotations) != 1 or len(pictures) != 1:
        raise DataError(
            f'{path}: sample {name} consists of {", ".join(part.name for part in parts)}; expected a picture and '
            f'{name}{ANNOTATION_SUFFIX}.'
        )
    spans = [Span(part.offset_data, part.size) for part in (annotations[0], pictures[0])]
    return TarRow(pictures[0].name, *spans)


def _span_of(path: str, span: Span) -> bytes:
    # opened anew: worker processes are forked, and would share the position in a file that is open already
    with open(path, 'rb') as file:
        file.seek(span.start)
        content = file.read(span.size)
    if len(content) < span.size:
        raise ImageError(path, f'the file is truncated: {span.size} bytes are missing from byte {span.start} on')
    return content


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(f'Parquet files need pyarrow: {install_command("streaming")} ({error})') from error
    return pyarrow


@lru_cache(maxsize=_OPEN_SHARDS)
def _parquet_file(path: str):
    pa = _pyarrow()
    try:
        return pa.parquet.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: not a Parquet file ({error}).') from error


def _parquet_cell(path: str, column: str, row: int):
    file = _parquet_file(path)
    if column not in file.schema_arrow.names:
        raise DataError(
            f'{path}: it has the columns {", ".join(file.schema_arrow.names)}; expected key, image and annotations.'
        )
    start = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if row < start + count:
            try:
                # threads of Arrow do not survive the fork that makes worker processes
                values = file.read_row_group(group, [column], use_threads=False).column(0)
            except (OSError, ValueError) as error:
                raise ImageError(path, f'column {column} of row {row} is damaged ({error})') from error
            return values[row - start].as_py()
        start += count
    raise DataError(f'{path}: it has {start} samples, sample {row} is asked for: write it again.')
