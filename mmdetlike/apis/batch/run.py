"""A job on Ray: actors that hold a detector each take shards and write their results."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from mmdetlike.apis.deployed import Detector
from mmdetlike.apis.inferencer import DetInferencer
from mmdetlike.apis.loading import load_inferencer
from mmdetlike.apis.results import to_dict
from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError, UserError
from mmdetlike.structures import DetDataSample
from mmdetlike.utils.ray_cluster import check_room, connect
from mmdetlike.utils.whole_files import write_whole

from .pictures import Picture, read_pictures
from .shards import Shards, broken_file, result_file


@dataclass(frozen=True)
class Job:
    """What the workers of a job need to know.

    Attributes:
        model, weights, optimize, trust_checkpoint: As of ``load_inferencer``.
        batch_size: Pictures that go through the model at once.
        score_thr: Predictions below it are left out.
        workers: Detectors at a time.
        threads: Threads of each worker on a CPU.
        gpus: GPUs of each worker.
    """

    model: str | None
    weights: str | None
    optimize: str | None = None
    trust_checkpoint: bool = False
    batch_size: int = 1
    score_thr: float = 0.05
    workers: int = 1
    threads: int = 1
    gpus: float = 0


def run_job(job: Job, shards: Shards, todo: Sequence[int], ray_address: str | None = None) -> int:
    """Predict the shards ``todo``; returns how many pictures were looked at.

    Args:
        job: The model and how to run it.
        shards: The output folder, which all machines of the cluster must share.
        todo: Indices of shards.
        ray_address: Of a cluster; None to run on this machine.

    Raises:
        ConfigError: Ray isn't installed, there is no such cluster, or the workers don't fit into it.
    """
    ray = _start_ray(ray_address, job)
    from tqdm import tqdm

    # a shard is a row: Ray does not split rows, so a shard is predicted and written as a whole; as JSON, for Ray
    # would make columns of the entries of lists
    rows = [dict(shard=i, pictures=json.dumps([asdict(p) for p in shards.pictures_of(i)])) for i in todo]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        ShardPredictor,
        fn_constructor_args=(job, str(shards.folder)),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(job.workers, len(rows))),
        num_cpus=None if job.gpus else 1,
        num_gpus=job.gpus or None,
    )
    count = 0
    with tqdm(total=sum(len(shards.pictures_of(i)) for i in todo), unit='img', desc='predicting') as bar:
        for row in done.iter_rows():
            count += int(row['count'])
            bar.update(int(row['count']))
    return count


def _start_ray(address: str | None, job: Job):
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(f"predicting on a cluster needs Ray: pip install 'mmdetlike[ray]' ({error})") from error
    if not ray.is_initialized():
        connect(ray, address)
    check_room(ray, address, job.workers, job.gpus)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray


class ShardPredictor:
    """A worker: a detector that predicts shards and writes them.

    Args:
        job: The model and how to run it.
        folder: The output folder.
    """

    def __init__(self, job: Job, folder: str) -> None:
        self.job = job
        self.folder = Path(folder)
        # One thread loads the model and runs it, where Ray takes two: OpenMP has helpers for each thread that computes,
        # and as soon as these are more than the cores, they sleep between layers in place of waiting for the next one.
        self._thread = ThreadPoolExecutor(1)
        self.inferencer = self._thread.submit(self._load).result()

    def _load(self) -> DetInferencer | Detector:
        torch.set_num_threads(self.job.threads)  # of this thread alone
        return load_inferencer(
            self.job.model,
            self.job.weights,
            optimize=self.job.optimize,
            trust_checkpoint=self.job.trust_checkpoint,
        )

    def __call__(self, batch: dict) -> dict:
        """Predict the shards of a batch of Ray's, columns ``shard`` and ``pictures``, and count their pictures."""
        return self._thread.submit(self._predict_shards, batch).result()

    def _predict_shards(self, batch: dict) -> dict:
        counts = []
        for shard, pictures in zip(batch['shard'], batch['pictures']):
            entries = [Picture(**entry) for entry in json.loads(pictures)]
            self.predict_shard(int(shard), entries)
            counts.append(len(entries))
        return dict(shard=batch['shard'], count=counts)

    def predict_shard(self, shard: int, pictures: Sequence[Picture]) -> None:
        """Predict one shard and write its results."""
        rows = []
        broken = []
        for picture, outcome in zip(pictures, self._outcomes(pictures)):
            if 'error' in outcome:
                broken.append(dict(key=picture.key, reason=str(outcome['error'])))
            else:
                rows.append(dict(outcome, key=picture.key))
        if broken:  # before the shard itself, whose file says that it is done
            lines = ''.join(f'{json.dumps(entry)}\n' for entry in broken)
            write_whole(broken_file(self.folder, shard), lines.encode())
        write_whole(result_file(self.folder, shard), to_parquet(rows, self.inferencer.model.dataset_meta['classes']))

    def _outcomes(self, pictures: Sequence[Picture]) -> list[dict]:
        """For each picture a row of the results, or ``error``."""
        try:
            return self._found(pictures)
        except UserError as error:
            if len(pictures) == 1:
                return [dict(error=error)]
            # one picture, such as one too large for an exported program, must not take others with it
            return [outcome for picture in pictures for outcome in self._outcomes([picture])]

    def _found(self, pictures: Sequence[Picture]) -> list[dict]:
        broken: dict[int, ImageError] = {}

        def readable() -> Iterator:
            for index, entry in enumerate(read_pictures(pictures)):
                if isinstance(entry, ImageError):
                    broken[index] = entry
                else:
                    yield entry

        # a generator: of a sole picture in a list the inferencer would raise the error
        with closing(self.inferencer.stream(readable(), self.job.batch_size, self._row)) as stream:
            found = iter(list(stream))
        return [dict(error=broken[index]) if index in broken else next(found) for index in range(len(pictures))]

    def _row(self, sample: DetDataSample) -> dict:
        instances = sample.get('pred_instances')
        if instances is not None and 'scores' in instances:
            sample.pred_instances = instances[instances.scores >= self.job.score_thr]
        height, width = sample.ori_shape[:2]
        return dict(to_dict(sample), height=height, width=width)


def schema():
    """The columns of the results: plain lists, one row a picture."""
    import pyarrow as pa

    mask = pa.struct([('size', pa.list_(pa.int32())), ('counts', pa.string())])
    numbers = pa.list_(pa.float32())
    return pa.schema(
        [
            ('key', pa.string()),
            ('height', pa.int32()),
            ('width', pa.int32()),
            ('labels', pa.list_(pa.int32())),
            ('scores', numbers),
            ('bboxes', pa.list_(numbers)),
            ('masks', pa.list_(mask)),
            ('keypoints', pa.list_(pa.list_(numbers))),
            ('keypoint_scores', pa.list_(numbers)),
            ('panoptic_seg', pa.list_(pa.struct([('id', pa.int32()), ('mask', mask)]))),
        ]
    )


def to_parquet(rows: Sequence[dict], classes: Sequence[str]) -> bytes:
    """Rows as the content of a Parquet file, with the names of the classes in its metadata, as JSON."""
    import pyarrow as pa
    import pyarrow.parquet

    columns = schema().with_metadata({'classes': json.dumps(list(classes))})
    table = pa.Table.from_pylist(list(rows), columns)
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content)
    return content.getvalue()
