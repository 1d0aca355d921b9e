"""Time ``mmdetlike batch-predict`` beside ``mmdetlike predict`` on a folder of pictures, in turns; needs Ray, psutil.

Counted is what comes after the first shard of pictures, when both are past their start: seconds by the clock, and
seconds of CPU of all processes. Those of Ray's daemons grow with the time by the clock, so on a machine that does other
things they say little; they are told apart. With `--in-process` one process does in turns what `predict` and what a
worker of `batch-predict` does, by seconds of CPU, without Ray: for machines that do other things.

Examples:
    python tests/apis/benchmark_batch.py ../shared/data/BCCD/JPEGImages --config retinanet_r18_fpn_bccd
    python tests/apis/benchmark_batch.py ../shared/data/BCCD/JPEGImages --scale 160 120 --repeats 5 --in-process
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--config', default='retinanet_r18_fpn_shapes')
    parser.add_argument('--weights', type=Path, help='a checkpoint (default: random weights)')
    parser.add_argument('--scale', type=int, nargs=2, help='width and height of images (default: those of the config)')
    parser.add_argument('--pictures', type=int, default=320)
    parser.add_argument('--shard-size', type=int, default=32)
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='of the network')
    parser.add_argument('--in-process', action='store_true', help='compare without Ray, in one process')
    parser.add_argument('--repeats', type=int, default=3)
    return parser.parse_args()


def write_model(args: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """The config with its images of the wanted size, and weights."""
    import torch

    from mmdetlike.apis import DetInferencer
    from mmdetlike.utils.config import load_config
    from mmdetlike.utils.config_files import find_config

    cfg = load_config(find_config(args.config))
    if args.scale is not None:
        steps = cfg.test_dataloader.dataset.pipeline
        loading, *rest = [step for step in steps if step['type'] != 'Resize']
        resize = dict(type='Resize', scale=tuple(args.scale), keep_ratio=True)
        cfg.test_dataloader.dataset.pipeline = [loading, resize, *rest]
    cfg.dump(folder / 'config.py')
    weights = args.weights
    if weights is None:
        torch.manual_seed(0)
        weights = folder / 'weights.pth'
        model = DetInferencer(cfg, show_progress=False).model
        torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)), weights)
    return folder / 'config.py', weights.resolve()


def seconds_of(command: list, threads: int, results: Path, pattern: str, first: int, last: int) -> dict[str, float]:
    """Seconds between the ``first`` and the ``last`` file of results, by the clock and of CPU."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': str(threads)}
    process = psutil.Popen([*map(str, command)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    snapshots = []
    for count in (first, last):
        while len(list(results.glob(pattern))) < count:
            if process.poll() is not None:
                raise RuntimeError(f'{" ".join(map(str, command))} wrote no {count} results')
            time.sleep(POLL_SECONDS)
        snapshots.append((time.perf_counter(), *cpu_of(process)))
    process.wait()
    (start, *cpu_start), (end, *cpu_end) = snapshots
    work, daemons = (after - before for before, after in zip(cpu_start, cpu_end))
    return {'clock': end - start, 'CPU': work + daemons, 'CPU without daemons': work}


def cpu_of(process: psutil.Process) -> tuple[float, float]:
    """Seconds of CPU of a process and the detectors that it has started, and of all else that it has started."""
    work = daemons = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
            is_work = one is process or 'MapWorker' in one.cmdline()[0]
        except (psutil.Error, IndexError):  # it has ended
            continue
        if is_work:
            work += times.user + times.system
        else:
            daemons += times.user + times.system
    return work, daemons


def compare_in_process(config: Path, weights: Path, folder: Path, pictures: Path, args: argparse.Namespace) -> None:
    """Print ratios of throughput by CPU of a worker and of the inferencer, which writes JSON."""
    import torch

    from mmdetlike.apis import DetInferencer
    from mmdetlike.apis.batch import Job, list_pictures
    from mmdetlike.apis.batch.run import ShardPredictor

    job = Job(str(config), str(weights), batch_size=args.batch_size, threads=args.threads)
    worker = ShardPredictor(job, str(folder))
    torch.set_num_threads(args.threads)
    inferencer = DetInferencer(str(config), str(weights), show_progress=False)
    listed = list_pictures(str(pictures))
    ratios = []
    milliseconds = 1000 / len(listed)
    for index in range(args.repeats + 1):
        start = time.process_time()
        inferencer(str(pictures), batch_size=args.batch_size, out_dir=str(folder / f'out{index}'), no_save_vis=True)
        middle = time.process_time()
        worker.predict_shard(index, listed)
        end = time.process_time()
        print(f'predict {milliseconds * (middle - start):.1f}, worker {milliseconds * (end - middle):.1f} ms a picture')
        ratios += [(middle - start) / (end - middle)] if index else []  # the first one warms up
    shown = ', '.join(f'{ratio:.2f}' for ratio in ratios)
    print(f'throughput by CPU, worker / predict: median {statistics.median(ratios):.2f} of {shown}')


def main() -> None:
    """Measure in turns, and print what a picture takes, and ratios of throughput."""
    args = parse_args()
    folder = Path(tempfile.mkdtemp())
    config, weights = write_model(args, folder)
    paths = sorted(args.folder.iterdir())[: args.pictures // args.shard_size * args.shard_size]
    pictures = folder / 'pictures'
    pictures.mkdir()
    for path in paths:
        (pictures / path.name).symlink_to(path.resolve())
    if args.in_process:
        compare_in_process(config, weights, folder, pictures, args)
        shutil.rmtree(folder)
        return
    shards = len(paths) // args.shard_size
    model = [config, '--weights', weights, '--batch-size', args.batch_size]
    tool = [sys.executable, '-m', 'mmdetlike']
    runs = {'predict': [], 'batch-predict': []}
    for index in range(args.repeats):
        out = folder / f'predict{index}'
        plain = [*tool, 'predict', pictures, *model, '--out-dir', out, '--no-save-vis']
        runs['predict'].append(seconds_of(plain, args.threads, out / 'preds', '*.json', args.shard_size, len(paths)))
        out = folder / f'batch{index}'
        batch = [*tool, 'batch-predict', *model, '--input', pictures, '--output', out, '--shard-size', args.shard_size]
        batch += ['--threads', args.threads]
        runs['batch-predict'].append(seconds_of(batch, args.threads, out, 'part-*.parquet', 1, shards))
    shutil.rmtree(folder)
    counted = len(paths) - args.shard_size
    for kind in runs['predict'][0]:
        plain, batch = ([run[kind] for run in group] for group in runs.values())
        ratios = [one / other for one, other in zip(plain, batch)]
        for name, values in zip(runs, (plain, batch)):
            print(f'{name}: {1000 * statistics.median(values) / counted:.1f} ms of {kind} a picture')
        shown = ', '.join(f'{ratio:.2f}' for ratio in ratios)
        print(f'throughput by {kind}, batch-predict / predict: median {statistics.median(ratios):.2f} of {shown}')


if __name__ == '__main__':
    main()
