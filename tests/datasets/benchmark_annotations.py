"""Time and memory of loading annotations of the size of COCO's training set, by the dataset and by its workers.

Example:
    python tests/datasets/benchmark_annotations.py --workers 4
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CATEGORIES = 80


def write_annotations(path: Path, images: int, objects: int, seed: int = 0) -> None:
    """Write a COCO file with boxes and polygons of random numbers, as many corners as COCO's have."""
    rng = np.random.default_rng(seed)
    image_of = np.sort(rng.integers(0, images, objects))
    with open(path, 'w') as file:
        categories = [dict(id=i, name=f'class {i}', supercategory='thing') for i in range(CATEGORIES)]
        file.write(f'{{"info": {{}}, "licenses": [], "categories": {json.dumps(categories)}, "images": [')
        for i in range(images):
            image = dict(id=i, file_name=f'{i:012d}.jpg', width=640, height=480, license=1, date_captured='2013-11-14')
            file.write((', ' if i else '') + json.dumps(image))
        file.write('], "annotations": [')
        for i, image in enumerate(image_of.tolist()):
            file.write((', ' if i else '') + json.dumps(random_object(i, image, rng)))
        file.write(']}')


def random_object(number: int, image: int, rng: np.random.Generator) -> dict:
    """An annotation: an ellipse of 8 to 50 corners."""
    width, height = rng.uniform(10, 300, 2)
    x, y = rng.uniform(0, (640 - width, 480 - height))
    angles = np.linspace(0, 2 * np.pi, rng.integers(8, 50), endpoint=False)
    corners = np.stack([x + width * (1 + np.cos(angles)) / 2, y + height * (1 + np.sin(angles)) / 2], axis=1)
    return dict(
        id=number,
        image_id=image,
        category_id=int(rng.integers(CATEGORIES)),
        bbox=[round(value, 2) for value in (x, y, width, height)],
        area=round(width * height * np.pi / 4, 4),
        iscrowd=0,
        segmentation=[corners.round(2).ravel().tolist()],
    )


def load(path: str, workers: int) -> dict[str, float]:
    """Seconds until a dataset is there and until its workers have given one batch each, and memory in MiB."""
    from torch.utils.data import DataLoader

    from mmdetlike.datasets import CocoDataset

    start = time.perf_counter()
    cpu = time.process_time()
    classes = tuple(f'class {i}' for i in range(CATEGORIES))
    dataset = CocoDataset(ann_file=path, metainfo=dict(classes=classes), pipeline=[], filter_cfg=dict(min_size=32))
    figures = {'seconds': time.perf_counter() - start, 'CPU seconds': time.process_time() - cpu}
    loader = iter(DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=len))
    for _ in range(workers):
        next(loader)
    figures['with workers'] = time.perf_counter() - start
    figures['peak MiB'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures['MiB, workers included'] = _proportional_size() / 1024
    return figures


def _proportional_size() -> int:
    """KiB of this process and its children; pages that several of them share count once."""
    processes = [Path('/proc/self'), *(Path(f'/proc/{child}') for child in _children())]
    lines = [line for process in processes for line in (process / 'smaps_rollup').read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))


def _children() -> list[str]:
    return Path('/proc/thread-self/children').read_text().split()


def main() -> None:
    """Write the file, load it twice, each time in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=118_000)
    parser.add_argument('--objects', type=int, default=860_000)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--file', type=Path, help='keep the annotations here; taken as they are if it is there')
    parser.add_argument('--load', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        print(json.dumps(load(str(args.file), args.workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or Path(folder) / 'instances.json'
        if not path.exists():
            write_annotations(path, args.images, args.objects)
        print(f'{path}: {path.stat().st_size / 2**20:.0f} MiB')
        command = [sys.executable, __file__, '--load', '--file', str(path), '--workers', str(args.workers)]
        for turn in ('first', 'second'):
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures = json.loads(output.splitlines()[-1])
            print(f'{turn} start:', ', '.join(f'{name} {value:.1f}' for name, value in figures.items()))


if __name__ == '__main__':
    main()
