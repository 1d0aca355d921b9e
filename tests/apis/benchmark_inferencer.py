"""Time ``DetInferencer`` on a folder beside its network alone, and beside other checkouts, in turns of one run.

Examples:
    python tests/apis/benchmark_inferencer.py ../shared/data/BCCD/JPEGImages --other ../before
    python tests/apis/benchmark_inferencer.py pictures/ --config faster-rcnn_r50_fpn_1x_coco --scale 1333 800
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--config', default='retinanet_r18_fpn_shapes')
    parser.add_argument('--scale', type=int, nargs=2, default=(160, 120), help='width and height of images')
    parser.add_argument('--pictures', type=int, default=200)
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1, help='of the network')
    parser.add_argument('--score-thr', type=float, default=0.3, help='draw predictions that score this or more')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--device')
    parser.add_argument('--other', nargs='*', default=[], help='root folders of other checkouts')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds a picture of this process: the network alone, and the folder with pictures and predictions."""
    import torch

    from mmdetlike.apis import DetInferencer
    from mmdetlike.apis.inference import predict_batch
    from mmdetlike.utils.config import load_config
    from mmdetlike.utils.config_files import find_config

    torch.set_num_threads(args.threads)
    cfg = load_config(find_config(args.config))
    for step in cfg.test_dataloader.dataset.pipeline:
        if step['type'] == 'Resize':
            step['scale'] = tuple(args.scale)
    torch.manual_seed(0)
    inferencer = DetInferencer(cfg, device=args.device, show_progress=False)
    paths = sorted(str(path) for path in args.folder.iterdir())[: args.pictures]
    inferencer(paths[:4])
    held = [inferencer.pipeline(path) for path in paths[:20]]
    start = time.perf_counter()
    cpu = time.process_time()
    for i in range(0, args.pictures, args.batch_size):
        batch = [held[j % len(held)] for j in range(i, i + args.batch_size)]
        entries = [dict(inputs=one['inputs'], data_samples=one['data_samples'].clone()) for one in batch]
        samples = predict_batch(inferencer.model, entries)
        samples[-1].pred_instances.scores.cpu()  # waits for a GPU
    seconds = {'network': time.perf_counter() - start, 'network, CPU': time.process_time() - cpu}
    with tempfile.TemporaryDirectory() as out_dir:
        start = time.perf_counter()
        cpu = time.process_time()
        options = dict(out_dir=out_dir, no_save_pred=False, pred_score_thr=args.score_thr)
        inferencer(paths, batch_size=args.batch_size, **options)
        seconds |= {'whole': time.perf_counter() - start, 'whole, CPU': time.process_time() - cpu}
    return {name: 1000 * value / len(paths) for name, value in seconds.items()}


def main() -> None:
    """Measure each checkout in turns, and print medians."""
    args = parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    roots = [ROOT, *(Path(other).resolve() for other in args.other)]
    results = {root: [] for root in roots}
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], '--child']
    for _ in range(args.repeats):
        for root in roots:
            environment = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': str(args.threads)}
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            results[root].append(json.loads(run.stdout.splitlines()[-1]))
    for root, runs in results.items():
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        print(f'{root}: ms a picture:', ', '.join(f'{name} {value:.1f}' for name, value in medians.items()))


if __name__ == '__main__':
    main()
