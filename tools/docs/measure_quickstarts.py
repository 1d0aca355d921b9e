"""Trains the quickstarts that docs/zoo_measured.json has no score of, one at a time, the cheapest first.

    nice -n 19 python tools/docs/measure_quickstarts.py [--list] [NAME ...]

Each run is that of ``tools/train.py`` from random weights; its score and the CPU minutes it took are written to the
file at once, so that it can be stopped at any time and started again. ``python tools/docs/generate.py`` shows them.
"""

import argparse
import fcntl
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from mmengine.config import ConfigDict
from torch.utils.flop_counter import FlopCounterMode

from mmdetlike.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs/quickstart'
MEASURED = ROOT / 'docs/zoo_measured.json'
# what the metrics call what the page shows, in the order shown
SHOWN = {
    'coco/bbox_mAP': 'bbox',
    'teacher/coco/bbox_mAP': 'bbox',  # Soft Teacher's student has a score of its own
    'coco/segm_mAP': 'segm',
    'coco_panoptic/PQ': 'PQ',
    'coco/keypoints_mAP': 'keypoints',
    'dota/mAP': 'rotated mAP50',
    'sem_seg/mIoU': 'mIoU',
}


def unmeasured() -> list[str]:
    """Stems of the quickstart configs without a score in the file."""
    known = json.loads(MEASURED.read_text()).get('quickstarts', {})
    return sorted(path.stem for path in FOLDER.glob('*_shapes.py') if path.stem not in known)


def multiply_adds(name: str) -> float:
    """Multiplications of the backbone, neck and heads on one picture: how long training takes, roughly.

    A model that can't be run on an image alone comes last.
    """
    from mmdetlike.registry import MODELS
    from mmdetlike.utils import register_all_modules

    register_all_modules()
    model = MODELS.build(ConfigDict(load_config(FOLDER / f'{name}.py').model)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        try:
            model(torch.zeros(1, 3, 128, 128), mode='tensor')
        except Exception:  # whatever a model asks for beside an image, it is only about the order
            return float('inf')
    return counter.get_total_flops()


def children_minutes() -> float:
    """CPU minutes, user and system, of all processes that this one started and that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def shorter(name: str, epochs: int) -> list[str]:
    """What lets a quickstart end after so many epochs, its learning rates with it; none where it counts iterations."""
    cfg = load_config(FOLDER / f'{name}.py')
    if 'max_epochs' not in cfg.train_cfg:
        return []
    last = cfg.train_cfg.max_epochs
    ends = [
        f'param_scheduler.{i}.end={epochs}' for i, part in enumerate(cfg.param_scheduler) if part.get('end') == last
    ]
    return ['--cfg-options', f'train_cfg.max_epochs={epochs}', f'train_cfg.val_interval={epochs}', *ends]


def measure(name: str, epochs: int | None = None) -> dict[str, float]:
    """Train one quickstart: the last score of each metric, the CPU minutes, and the epochs where they are fewer.

    Raises:
        subprocess.CalledProcessError: The training fails.
    """
    before = children_minutes()
    options = [] if epochs is None else shorter(name, epochs)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / 'tools/train.py', FOLDER / f'{name}.py', '--work-dir', folder, *options]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        (scalars,) = Path(folder).glob('*/vis_data/scalars.json')
        lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    found = {}
    for line in lines:
        found.update({shown: line[key] for key, shown in SHOWN.items() if key in line})
    minutes = round(children_minutes() - before, 1)
    return {**found, 'minutes': minutes, **({'epochs': epochs} if options else {})}


def keep(name: str, result: dict[str, float]) -> None:
    """Write a result into the file."""
    with MEASURED.open('r+') as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several processes may measure
        content = json.load(file)
        content.setdefault('quickstarts', {})[name] = result
        file.seek(0)
        file.write(json.dumps(content, indent=1) + '\n')
        file.truncate()


def main() -> None:
    """Measure what was asked for, or all that is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', help='stems of quickstart configs; without, all that are not measured')
    parser.add_argument('--list', action='store_true', help='only print the names, in the order they would be run')
    parser.add_argument('--epochs', type=int, help='train that many, where a whole run would take too long')
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        names = args.names or sorted(unmeasured(), key=multiply_adds)
    for name in names:
        if args.list:
            print(name)
            continue
        try:
            result = measure(name, args.epochs)
        except subprocess.CalledProcessError as error:
            print(f'{name}: training ended with {error.returncode}', flush=True)
            continue
        keep(name, result)
        print(name, result, flush=True)


if __name__ == '__main__':
    main()
