"""Writing a data set of colored shapes: PNG images and COCO annotations with boxes, masks and keypoints."""

import argparse
import json
from pathlib import Path

import cv2
from tqdm import tqdm

from mmdetlike.datasets import ShapesDataset
from mmdetlike.datasets.shapes.render import KEYPOINT_NAMES


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
    images, annotations = [], []
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


def write_shapes(args: argparse.Namespace) -> None:
    """Write the data set that the command line describes."""
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
