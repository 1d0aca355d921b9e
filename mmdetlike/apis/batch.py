"""Predicting millions of pictures, shard by shard, so that a run that is killed anywhere goes on where it was."""

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.errors import ConfigError

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
JOB = 'job.json'
COLUMNS = ('labels', 'scores', 'bboxes')


@dataclass(frozen=True)
class Shard:
    """A part of the pictures, whose predictions are one file.

    Args:
        index: Its number.
        paths: Of its pictures.
        folder: For its files.
    """

    index: int
    paths: tuple[str, ...]
    folder: Path

    @property
    def file(self) -> Path:
        """The predictions; it is there if and only if the shard is finished."""
        return self.folder / f'part-{self.index:06d}.parquet'

    @property
    def broken(self) -> Path:
        """The pictures that could not be read, a JSON object with ``path`` and ``error`` a line."""
        return self.folder / f'broken-{self.index:06d}.jsonl'


def picture_paths(source: str) -> list[str]:
    """The pictures of a folder (and its folders), a glob pattern, a Parquet file or a COCO file, in a fixed order.

    Args:
        source: Folder, pattern, ``.parquet`` with a column ``path``, or ``.json`` of COCO's form, whose ``file_name``
            are relative to its folder.

    Raises:
        FileNotFoundError: There are no pictures.
        DataError: A file is of another form.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob('*') if file.suffix.lower() in PICTURES)
    elif path.suffix == '.parquet' and path.is_file():
        found = _of_parquet(path)
    elif path.suffix == '.json' and path.is_file():
        found = _of_coco(path)
    else:
        found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise FileNotFoundError(
            f'{source} has no pictures: expected a folder, a glob pattern, a Parquet file with a column path, or a '
            'COCO file'
        )
    return found


def _of_parquet(path: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path, columns=['path']).column('path').to_pylist()
    except (pyarrow.ArrowException, KeyError) as error:
        raise DataError(f'{path} is no Parquet file with a column path: {str(error).splitlines()[0]}') from error


def _of_coco(path: Path) -> list[str]:
    try:
        images = json.loads(path.read_text(encoding='utf-8'))['images']
        return [str(path.parent / image['file_name']) for image in images]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path} is no COCO file: expected a list images with file_name ({error!r})') from error


def plan(paths: Sequence[str], folder: Path, shard_size: int, model: str) -> list[Shard]:
    """The shards of a job, once it is clear that the folder holds no other job.

    Args:
        paths: Of all pictures.
        folder: For the predictions; made if need be.
        shard_size: Pictures of a shard.
        model: Words that name the detector and its weights.

    Raises:
        ConfigError: The folder holds predictions of other pictures, or of another detector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256('\n'.join(paths).encode()).hexdigest()
    job = dict(pictures=len(paths), sha256=digest, shard_size=shard_size, model=model)
    file = folder / JOB
    if file.is_file():
        known = json.loads(file.read_text())
        if known != job:
            other = [name for name in job if known.get(name) != job[name]]
            raise ConfigError(
                f'{folder} holds the predictions of another job, which differs in {", ".join(other)}: choose another '
                '--output, or remove it'
            )
    else:
        write_whole(file, json.dumps(job).encode())
    starts = range(0, len(paths), shard_size)
    return [Shard(i, tuple(paths[start : start + shard_size]), folder) for i, start in enumerate(starts)]


def unfinished(shards: Sequence[Shard]) -> list[Shard]:
    """Those whose predictions aren't there."""
    return [shard for shard in shards if not shard.file.is_file()]


def count_broken(shards: Sequence[Shard]) -> int:
    """How many pictures of finished shards could not be read."""
    files = [shard.broken for shard in shards if shard.broken.is_file()]
    return sum(len(file.read_text(encoding='utf-8').splitlines()) for file in files)


def predict_shard(inferencer, shard: Shard, batch_size: int) -> int:
    """Predict the pictures of a shard and write its files; returns how many pictures were broken.

    Args:
        inferencer: A ``DetInferencer`` or ``Detector``.
        shard: The pictures.
        batch_size: Pictures that go through the detector at once.
    """
    rows = []
    broken = []
    for path, prediction in zip(shard.paths, _predictions(inferencer, shard.paths, batch_size), strict=True):
        if 'error' in prediction:
            broken.append(dict(path=path, error=prediction['error']))
            continue
        extra = {name: value for name, value in prediction.items() if name not in COLUMNS}
        columns = {name: prediction.get(name, []) for name in COLUMNS}
        rows.append(dict(path=path, **columns, extra=json.dumps(extra) if extra else None))
    if broken:  # written before the predictions, whose file says that the shard is finished
        write_whole(shard.broken, ''.join(json.dumps(entry) + '\n' for entry in broken).encode())
    write_whole(shard.file, _as_parquet(rows))
    return len(broken)


def _predictions(inferencer, paths: Sequence[str], batch_size: int) -> list[dict]:
    """A prediction of each picture, ``dict(error=...)`` of a broken one, also where it is the only one."""
    try:
        return inferencer(list(paths), batch_size=batch_size)['predictions']
    except (ImageError, FileNotFoundError) as error:
        if len(paths) > 1:
            raise
        return [dict(error=str(error))]


def _as_parquet(rows: list[dict]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    numbers = pyarrow.list_(pyarrow.float32())
    columns = dict(
        path=pyarrow.string(),
        labels=pyarrow.list_(pyarrow.int64()),
        scores=numbers,
        bboxes=pyarrow.list_(numbers),
        extra=pyarrow.string(),
    )
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(columns)), sink)
    return sink.getvalue().to_pybytes()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, whenever the process is killed."""
    unfinished_file = path.with_name(f'.{path.name}.{os.getpid()}')
    with open(unfinished_file, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished_file.replace(path)


class ShardPredictor:
    """What an actor of Ray does: it loads the detector once, and predicts shard by shard.

    Args:
        model: As of ``load``.
        weights: Likewise.
        device: Likewise.
        batch_size: Pictures that go through the detector at once.
    """

    def __init__(self, model: str, weights: str | None, device: str | None, batch_size: int) -> None:
        self.inferencer = load(model, weights, device)
        self.batch_size = batch_size

    def __call__(self, row: dict) -> dict:
        """Predict the shard of a row of ``shard_rows``."""
        shard = Shard(row['index'], tuple(row['paths']), Path(row['folder']))
        return dict(index=shard.index, broken=predict_shard(self.inferencer, shard, self.batch_size))


def shard_rows(shards: Sequence[Shard]) -> Iterator[dict]:
    """Shards as Ray Data takes them."""
    for shard in shards:
        yield dict(index=shard.index, paths=list(shard.paths), folder=str(shard.folder.resolve()))


def load(model: str, weights: str | None = None, device: str | None = None):
    """A detector of a folder of ``tools/deploy.py``, a config and a checkpoint, or a checkpoint with its config."""
    from mmdetlike.apis import Detector, DetInferencer
    from mmdetlike.export.manifest import NAME

    if (Path(model).expanduser() / NAME).is_file():
        return Detector.load(model, show_progress=False)
    if model.endswith(('.pth', '.pt')) and weights is None:
        return DetInferencer(None, model, device, show_progress=False)
    return DetInferencer(model, weights, device, show_progress=False)
