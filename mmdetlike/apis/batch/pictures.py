"""The pictures of a job: those of a folder, a pattern, a COCO file, or of Parquet files."""

from __future__ import annotations

import glob
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdetlike.apis.videos import ANIMATION_SUFFIXES, PICTURE_SUFFIXES, is_video
from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.datasets.transforms import decode_image

PARQUET = '.parquet'
SUFFIXES = (*PICTURE_SUFFIXES, *ANIMATION_SUFFIXES)
ROWS_AT_ONCE = 16  # of a Parquet file
# columns of Parquet files, by what data sets on disk call them; the first one found is taken
CONTENT_COLUMNS = ('image', 'bytes', 'image_bytes', 'jpg')
PATH_COLUMNS = ('path', 'img_path', 'image_path', 'file_name')
KEY_COLUMNS = ('key', 'image_id', 'id', 'file_name')


@dataclass(frozen=True)
class Picture:
    """One picture of a job.

    Attributes:
        key: What it is called in the results: its path, or what its Parquet file calls it.
        path: The picture, or the Parquet file that holds it; absolute, for workers may run elsewhere.
        row: Its row in the Parquet file; None for a file of its own.
    """

    key: str
    path: str
    row: int | None = None


def list_pictures(source: str, data_root: str | None = None, leave_out: str | None = None) -> list[Picture]:
    """The pictures of a source, in an order that is the same in every run.

    Args:
        source: Folder (with those below it), glob pattern, COCO JSON, Parquet file, or folder or pattern of these.
        data_root: Folder that paths in a COCO or Parquet file are relative to; by default that of the file.
        leave_out: Folder whose files don't count, as that of the results, which may be below that of the pictures.

    Raises:
        FileNotFoundError: There is nothing there, or no picture.
        DataError: A COCO or Parquet file doesn't say which pictures it is about, or there are pictures in files of
            their own as well as in Parquet files.
    """
    files = _files(source)
    if leave_out is not None:
        excluded = Path(leave_out).expanduser().absolute()
        files = [path for path in files if excluded not in path.absolute().parents]
    tables = [path for path in files if path.suffix == PARQUET]
    if tables:
        _check_alone(source, tables, files)
        return [picture for path in tables for picture in _of_table(path, data_root)]
    if len(files) == 1 and files[0].suffix == '.json':
        return _of_coco(files[0], data_root)
    pictures = [Picture(str(path), os.path.abspath(path)) for path in files if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise FileNotFoundError(
            f'{source}: there are no pictures among {len(files)} files; looked for {", ".join(PICTURE_SUFFIXES)} and '
            f'{PARQUET}'
        )
    return pictures


def read_pictures(pictures: Sequence[Picture]) -> Iterator[str | np.ndarray | ImageError]:
    """What an inferencer takes for each picture: its path, or the picture (h, w, 3), BGR, of a Parquet file.

    One by one: a shard of decoded photos may not fit into memory. An entry that is no picture is an ``ImageError``.
    """
    for table, group in itertools.groupby(pictures, lambda picture: None if picture.row is None else picture.path):
        if table is None:
            yield from (_still(picture.path) for picture in group)
            continue
        rows = list(group)
        contents = _contents(table, [picture.row for picture in rows])
        for picture in rows:
            try:
                content = next(contents)
            except (OSError, ValueError) as error:  # Arrow's errors are of these; what comes after is lost, too
                reason = f'its row in the Parquet file cannot be read: {error}'
                contents = itertools.repeat(ImageError(picture.key, reason))
                content = next(contents)
            yield content if isinstance(content, ImageError) else _decoded(content, picture.key)


def _still(path: str) -> str | ImageError:
    """The path, unless it is that of several pictures, whose predictions would have no place in one row."""
    return ImageError(path, 'it has several frames: hand them over as pictures') if is_video(path) else path


def _decoded(content: bytes | None, key: str) -> np.ndarray | ImageError:
    if not content:
        return ImageError(key, 'its row in the Parquet file has no content')
    try:
        return decode_image(content, path=key)
    except ImageError as error:
        return error


def _check_alone(source: str, tables: Sequence[Path], files: Sequence[Path]) -> None:
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    if pictures:
        raise DataError(
            f'{source} has {len(pictures)} pictures, such as {pictures[0].name}, as well as {len(tables)} Parquet '
            f'files, such as {tables[0].name}: give a pattern for one kind'
        )


def _files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(entry for entry in path.rglob('*') if entry.is_file())
    if path.is_file():
        return [path]
    found = sorted(Path(entry) for entry in glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
    if not found:
        raise FileNotFoundError(f'{source}: there is no such folder, file or anything that fits the pattern')
    return found


def _of_coco(path: Path, data_root: str | None) -> list[Picture]:
    try:
        images = json.loads(path.read_bytes())['images']
        names = [image['file_name'] for image in images]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no COCO file: expected 'images', each with 'file_name' ({error})") from error
    root = Path(data_root) if data_root is not None else path.parent
    return [Picture(name, os.path.abspath(root / name)) for name in names]


def _of_table(path: Path, data_root: str | None) -> list[Picture]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise DataError(f'{path} is no Parquet file ({error})') from error
    names = file.schema_arrow.names
    content = _first(names, CONTENT_COLUMNS)
    where = _first(names, PATH_COLUMNS)
    called = _first(names, KEY_COLUMNS)
    if content is None and where is None:
        raise DataError(
            f'{path} has the columns {", ".join(names)}; expected contents of pictures in one of '
            f'{", ".join(CONTENT_COLUMNS)}, or paths in one of {", ".join(PATH_COLUMNS)}'
        )
    columns = file.read(sorted({name for name in (where, called) if name is not None})).to_pydict()
    count = file.metadata.num_rows
    if content is None:
        root = Path(data_root) if data_root is not None else path.parent
        return [Picture(name, os.path.abspath(root / name)) for name in columns[where]]
    keys = columns[called or where] if called or where else [f'{path}#{row}' for row in range(count)]
    return [Picture(str(key), os.path.abspath(path), row) for row, key in enumerate(keys)]


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _contents(path: str, rows: Sequence[int]) -> Iterator[bytes | None]:
    """The encoded pictures of some rows, in their order, which is that of the file.

    Of the file only the groups of rows that hold them are read, a few rows at a time.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        column = _first(file.schema_arrow.names, CONTENT_COLUMNS)
        wanted = set(rows)
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(start, end)):
                batches = file.iter_batches(ROWS_AT_ONCE, [group], [column])
                values = itertools.chain.from_iterable(batch.column(0) for batch in batches)
                yield from (_bytes_of(value.as_py()) for row, value in enumerate(values, start) if row in wanted)
            start = end


def _bytes_of(value: bytes | dict | None) -> bytes | None:
    """The content of a cell; Hugging Face's files have ``dict(bytes, path)`` there."""
    return value.get('bytes') if isinstance(value, dict) else value
