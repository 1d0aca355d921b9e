"""Time recorded models in this checkout and in another one, in turns: CPU seconds of one thread, and their ratios.

    python tests/data/reference/speed_beside.py --other ../before FILE ...            # predict and a training step
    python tests/data/reference/speed_beside.py --other ../before --optimize fp32 bf16 FILE ...  # optimized, too

The other checkout needs its kernels built; its own ``compare.py`` and ``fill.py`` build the models. CPU time of one
thread is what a busy machine changes least.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HEIGHT, WIDTH = 800, 1088


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='+', type=Path, help='recordings')
    parser.add_argument('--other', type=Path, required=True, help='root folder of the other checkout')
    parser.add_argument('--optimize', nargs='*', default=[], help='predict with optimize_model, too; of this one alone')
    parser.add_argument('--predict-only', action='store_true', help='no training steps')
    parser.add_argument('--repeats', type=int, default=3, help='calls a process, after one to warm up')
    parser.add_argument('--turns', type=int, default=2, help='processes of each kind')
    parser.add_argument('--child', nargs=2, metavar=('KIND', 'ROOT'), help=argparse.SUPPRESS)
    return parser.parse_args()


def least(function, repeats: int) -> float:
    """CPU seconds of the fastest of ``repeats`` calls, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def measure(path: Path, kind: str, root: str, repeats: int) -> float:
    """CPU seconds of ``predict`` on one image, or of a training step on two, in this process."""
    sys.path.insert(0, f'{root}/tests/data/reference')
    import compare
    import fill
    import torch

    torch.set_num_threads(1)
    with gzip.open(path, 'rt') as file:
        recording = dict(json.load(file), image_size=[HEIGHT, WIDTH])
    model = compare.build(recording, 'mmdetlike')
    images = list(fill.images(2, HEIGHT, WIDTH))
    if kind not in ('predict', 'train'):
        from mmdetlike.apis import optimize_model

        optimize_model(model, kind)

    def predict() -> None:
        samples = compare.make_samples(recording, 'mmdetlike')[:1]
        data = model.data_preprocessor(dict(inputs=images[:1], data_samples=samples), False)
        with torch.no_grad():
            model(data['inputs'], data['data_samples'], mode='predict')

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    def train() -> None:
        samples = compare.make_samples(recording, 'mmdetlike')
        data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
        total, _ = model.parse_losses(model(data['inputs'], data['data_samples'], mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    model.train(kind == 'train')
    return least(train if kind == 'train' else predict, repeats)


def seconds(args: argparse.Namespace, path: Path, kind: str, root: Path) -> float:
    """The same of a process of its own, that imports the checkout ``root``."""
    command = [sys.executable, str(Path(__file__).resolve()), str(path.resolve()), '--other', str(args.other)]
    command += ['--repeats', str(args.repeats), '--child', kind, str(root)]
    environment = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'{path.name}, {kind} in {root}: {done.stderr[-500:]}')
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a line a recording and kind."""
    args = parse_args()
    if args.child:
        print(measure(args.files[0], *args.child, args.repeats))
        return
    other = args.other.resolve()
    kinds = ['predict', *args.optimize] if args.predict_only else ['predict', *args.optimize, 'train']
    print('| recording | | the other | this | ratio |\n|---|---|---|---|---|')
    for path in args.files:
        base = {'predict': [], 'train': []}
        ours = {kind: [] for kind in kinds}
        for _ in range(args.turns):
            for kind in kinds:
                if kind in base:
                    base[kind].append(seconds(args, path, kind, other))
                ours[kind].append(seconds(args, path, kind, ROOT))
        for kind in kinds:
            before = min(base.get(kind, base['predict']))
            now = min(ours[kind])
            print(f'| {path.name[:-8]} | {kind} | {before:.3g} | {now:.3g} | {now / before:.2f} |', flush=True)


if __name__ == '__main__':
    main()
