"""Draw a data set of colored shapes to disk: PNG images and COCO annotations with boxes, masks and keypoints.

Example:
    python tools/dataset_converters/make_shapes.py data/shapes --num-train 500 --num-val 100 --size 160
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
from tqdm import tqdm

from mmdetlike.datasets import ShapesDataset
from mmdetlike.datasets.shapes_render import KEYPOINT_NAMES
from mmdetlike.utils.command import make_parser, run_tool, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('out', type=user_path, help='folder to write: train/, val/ and annotations/')
    parser.add_argument('--num-train', type=int, default=500, help='pictures to train on (default: %(default)s)')
    parser.add_argument('--num-val', type=int, default=100, help='pictures to evaluate on (default: %(default)s)')
    parser.add_argument(
        '--size', type=int, nargs='+', default=[160], help='pixels: a side, or height and width (default: 160)'
    )
    parser.add_argument('--max-objects', type=int, default=6, help='most shapes in a picture (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='another seed draws other pictures (default: %(default)s)')
    args = parser.parse_args(argv)
    if min(args.num_train, args.num_val) < 0 or args.num_train == args.num_val == 0:
        parser.error(
            f'--num-train {args.num_train} and --num-val {args.num_val} are no numbers of pictures: give one at least'
        )
    if len(args.size) > 2:
        parser.error(f'--size takes one or two numbers, got {args.size}')
    return args


def coco_annotation(instance: dict, image_id: int, number: int) -> dict:
    """The COCO annotation of an instance of a data info."""
    x1, y1, x2, y2 = instance['bbox']
    return {
        'id': number,
        'image_id': image_id,
        'category_id': instance['bbox_label'] + 1,
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': instance['area'],
        'iscrowd': 0,
        'segmentation': instance['mask'],
        'keypoints': instance['keypoints'],
        'num_keypoints': sum(v > 0 for v in instance['keypoints'][2::3]),
    }


def write_split(out: Path, split: str, dataset: ShapesDataset) -> None:
    """Write the pictures of ``dataset`` to ``out/split`` and ``out/annotations/instances_{split}.json``."""
    (out / split).mkdir(parents=True, exist_ok=True)
    images = []
    annotations = []
    for index in tqdm(range(len(dataset)), desc=split, unit='picture'):
        sample = dataset[index]
        name = f'{index:06d}.png'
        if not cv2.imwrite(str(out / split / name), sample['img']):
            raise OSError(f'Could not write {out / split / name}.')
        height, width = sample['img_shape']
        images.append({'id': index, 'file_name': name, 'height': height, 'width': width})
        for instance in sample['instances']:
            annotations.append(coco_annotation(instance, index, len(annotations) + 1))
    categories = [
        {'id': i, 'name': name, 'keypoints': list(KEYPOINT_NAMES)}
        for i, name in enumerate(dataset.metainfo['classes'], 1)
    ]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    path = out / 'annotations' / f'instances_{split}.json'
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    print(f'{path}: {len(images)} images, {len(annotations)} objects')


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data set that the command line describes."""
    args = parse_args(argv)
    size = (args.size[0], args.size[-1])
    for split, length in (('train', args.num_train), ('val', args.num_val)):
        if length > 0:
            dataset = ShapesDataset(
                length=length,
                seed=args.seed,
                image_size=size,
                split=split,
                max_objects=args.max_objects,
                pipeline=[{'type': 'LoadShapesImage', 'max_cached': 0}],
            )
            write_split(args.out, split, dataset)


if __name__ == '__main__':
    run_tool(main)
