"""Detect objects in millions of pictures, on this machine or a Ray cluster, into Parquet files.

A run that was stopped, in whatever way, goes on where it was when the same command is given again.

Examples:
    mmdetlike batch-predict CONFIG.py --weights CHECKPOINT.pth --input pictures/ --output found/
    mmdetlike batch-predict CHECKPOINT.pth --input 'shards/*.parquet' --output /shared/found --ray auto --workers 16
"""

import argparse
import hashlib
import math
import os
import time
from pathlib import Path

from mmdetlike.cli.arguments import add_detector, check_positive, detector_settings
from mmdetlike.utils.command import make_parser
from mmdetlike.utils.packages import require_packages


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_detector(parser)
    parser.add_argument(
        '--input', required=True, help='folder, glob pattern (in quotes), COCO JSON or Parquet file(s) of pictures'
    )
    parser.add_argument('--output', required=True, help='folder for the results, which all machines must see')
    parser.add_argument('--data-root', help='folder that paths in a COCO or Parquet file are relative to')
    parser.add_argument('--ray', metavar='ADDRESS', help="address of a Ray cluster, or 'auto' (default: this machine)")
    parser.add_argument('--workers', type=int, help='detectors at a time (default: one for each GPU, else one)')
    parser.add_argument('--gpus-per-worker', type=float, help='GPUs of each (default: one where there are any)')
    parser.add_argument('--threads', type=int, help='threads of each worker (default: the cores shared out)')
    parser.add_argument('--shard-size', type=int, default=512, help='pictures of one result file')
    parser.add_argument('--batch-size', type=int, default=1, help='pictures that go through the model at once')
    parser.add_argument('--score-thr', type=float, default=0.05, help='leave out predictions that score less')
    parser.add_argument('--overwrite', action='store_true', help='remove the results of another run in the folder')
    args = parser.parse_args(argv)
    check_positive(parser, args, ['workers', 'threads', 'shard_size', 'batch_size'])
    if not math.isfinite(args.score_thr):
        parser.error(f'--score-thr must be a number, got {args.score_thr}')
    if args.gpus_per_worker is not None and not 0 <= args.gpus_per_worker < math.inf:
        parser.error(f'--gpus-per-worker must be 0 or more, got {args.gpus_per_worker}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Detect, shard by shard."""
    args = parse_args(argv)
    require_packages('batch-predict', 'ray', 'ray', 'pyarrow')  # said before anything is written
    detector = detector_settings(args)
    from mmdetlike.apis.batch import BROKEN, Shards, list_pictures, run_job
    from mmdetlike.datasets.errors import DataError

    pictures = list_pictures(args.input, args.data_root, leave_out=args.output)
    settings = dict(
        model=_digest(detector['model']),
        weights=_digest(detector['weights']),
        score_thr=args.score_thr,
        optimize=args.optimize,
    )
    shards = Shards(args.output, pictures, args.shard_size, settings)
    todo = shards.start(args.overwrite)
    print(f'{len(pictures)} pictures in {len(shards)} shards, {len(shards) - len(todo)} of which are done', flush=True)
    start = time.perf_counter()
    count = run_job(_job(args, detector), shards, todo, args.ray) if todo else 0
    seconds = time.perf_counter() - start
    broken = shards.finish()
    if broken == len(pictures):
        raise DataError(f'nothing could be predicted of {broken} pictures: the reasons are in {shards.folder / BROKEN}')
    print(f'{count} pictures in {seconds:.0f} s; results in {shards.folder}, {broken} broken pictures in broken.jsonl')


def _job(args: argparse.Namespace, detector: dict):
    """What the workers do; by default one of them has each GPU of this machine, or all cores."""
    import torch

    from mmdetlike.apis.batch import Job

    gpus = torch.cuda.device_count()
    workers = args.workers or max(1, gpus)
    return Job(
        **detector,
        batch_size=args.batch_size,
        score_thr=args.score_thr,
        workers=workers,
        threads=args.threads or max(1, (os.cpu_count() or 1) // workers),
        gpus=min(1, gpus) if args.gpus_per_worker is None else args.gpus_per_worker,
    )


def _digest(path: str | None) -> str | None:
    """A short text that differs where the content of a file, or of an artifact, does; of an address, the address."""
    if path is not None and Path(path).is_dir():
        from mmdetlike.export.manifest import NAME

        path = str(Path(path) / NAME)  # the manifest, which holds the checksum of the program
    if path is None or not Path(path).is_file():
        return path
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
