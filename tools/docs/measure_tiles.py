"""What tiles find in large pictures of small objects that the whole picture doesn't show.

    python tools/docs/measure_tiles.py CHECKPOINT [--pictures 2] [--tile 512] [--folder work_dirs/tiles]

Draws pictures of 4,000 x 4,000, each of 961 small Shapes, and scores a RetinaNet that was trained by
``configs/quickstart/retinanet_r18_fpn_shapes.py``: on the whole pictures, reduced to 1,024, and in tiles.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from mmdetlike.datasets import ShapesDataset
from mmdetlike.utils import register_all_modules

ROOT = Path(__file__).resolve().parents[2]
CELL = 128  # pixels of one small scene
CELLS = 31  # along each side of a picture
SIDE = 4000

CONFIG = """
_base_ = '{base}'
test_dataloader = dict(
    batch_size=1, num_workers=0,
    dataset=dict(
        _delete_=True, type='CocoDataset', ann_file='{folder}/annotations.json', data_prefix=dict(img='{folder}/'),
        metainfo=dict(classes={classes}), test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=({side}, {side}), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs'),
        ]))
# there are more objects in a picture than benchmarks count on
test_evaluator = dict(
    _delete_=True, type='CocoMetric', metric='bbox', ann_file='{folder}/annotations.json', max_detections=2000)
model = dict(test_cfg=dict(max_per_img=2000, nms_pre=5000))
"""


def draw(folder: Path, count: int) -> tuple[str, ...]:
    """Write pictures and their COCO file; returns the names of the classes."""
    scenes = ShapesDataset(
        length=count * CELLS**2,
        split='val',
        image_size=(CELL, CELL),
        max_objects=1,
        test_mode=True,
        pipeline=[dict(type='LoadShapesImage')],
    )
    images = []
    annotations = []
    for number in range(count):
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        for cell in range(CELLS**2):
            scene = scenes[number * CELLS**2 + cell]
            top, left = (CELL * index for index in divmod(cell, CELLS))
            picture[top : top + CELL, left : left + CELL] = scene['img']
            annotations += [_annotation(entry, left, top, number) for entry in scene['instances']]
        cv2.imwrite(str(folder / f'{number}.png'), picture)
        images.append(dict(id=number, file_name=f'{number}.png', width=SIDE, height=SIDE))
    for number, annotation in enumerate(annotations):
        annotation['id'] = number + 1
    classes = tuple(scenes.metainfo['classes'])
    categories = [dict(id=number, name=name) for number, name in enumerate(classes)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'annotations.json').write_text(json.dumps(content))
    return classes


def _annotation(instance: dict, left: int, top: int, picture: int) -> dict:
    x1, y1, x2, y2 = instance['bbox']
    box = [x1 + left, y1 + top, x2 - x1, y2 - y1]
    return dict(image_id=picture, category_id=instance['bbox_label'], bbox=box, area=box[2] * box[3], iscrowd=0)


def score(folder: Path, classes: tuple[str, ...], side: int, checkpoint: str, *options: str) -> str:
    """The line of scores that tools/test.py logs, with pictures or tiles resized to ``side``."""
    base = ROOT / 'configs/quickstart/retinanet_r18_fpn_shapes.py'
    config = folder / f'side_{side}.py'
    config.write_text(CONFIG.format(base=base, folder=folder.absolute(), classes=classes, side=side))
    command = [sys.executable, str(ROOT / 'tools/test.py'), str(config), checkpoint, '--work-dir', str(folder / 'run')]
    log = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    lines = (log.stdout + log.stderr).splitlines()
    return next(line.partition('coco/')[2] for line in reversed(lines) if 'coco/bbox_mAP:' in line)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint')
    parser.add_argument('--pictures', type=int, default=2)
    parser.add_argument('--tile', type=int, default=512)
    parser.add_argument('--folder', type=Path, default=Path('work_dirs/tiles'))
    args = parser.parse_args()
    register_all_modules()
    args.folder.mkdir(parents=True, exist_ok=True)
    classes = draw(args.folder, args.pictures)
    print('whole:', score(args.folder, classes, 1024, args.checkpoint))
    for merge in ('nms', 'nmm', 'wbf'):
        options = ['--tile', str(args.tile), '--merge', merge]
        print(f'tiles, {merge}:', score(args.folder, classes, args.tile, args.checkpoint, *options))


if __name__ == '__main__':
    main()
