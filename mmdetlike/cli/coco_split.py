"""A labeled and an unlabeled part of a COCO file."""

import argparse
import json

import numpy as np

from mmdetlike.datasets.annotations import read_json
from mmdetlike.datasets.coco_file import CocoFile
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.records import same_id
from mmdetlike.utils.whole_files import whole_folder


def split(content: dict, percent: float, fold: int) -> tuple[dict, dict]:
    """The labeled and the unlabeled part of a COCO file.

    Raises:
        DataError: One of them would have no image.
    """
    images = content['images']
    number = round(percent / 100 * len(images))
    if not 0 < number < len(images):
        raise DataError(
            f'--labeled-percent {percent:g} of {len(images)} images is {number}; both parts need one at least.'
        )
    chosen = set(np.random.RandomState(fold).permutation(len(images))[:number].tolist())
    labeled = [image for index, image in enumerate(images) if index in chosen]
    unlabeled = [image for index, image in enumerate(images) if index not in chosen]
    ids = {same_id(image['id']) for image in labeled}
    annotations = [row for row in content['annotations'] if same_id(row['image_id']) in ids]
    return (
        {**content, 'images': labeled, 'annotations': annotations},
        {**content, 'images': unlabeled, 'annotations': []},
    )


def write_parts(args: argparse.Namespace) -> None:
    """Write the files that the command line describes."""
    content = _checked(str(args.ann_file))
    with whole_folder(args.out_dir) as folder:
        for percent in args.labeled_percent:
            for fold in range(1, args.fold + 1):
                labeled, unlabeled = split(content, percent, fold)
                for part, suffix in ((labeled, ''), (unlabeled, '-unlabeled')):
                    name = f'{args.ann_file.stem}.{fold}@{percent:g}{suffix}.json'
                    (folder / name).write_text(json.dumps(part))
                    print(f'{args.out_dir / name}: {len(part["images"])} images, {len(part["annotations"])} objects')


def _checked(ann_file: str) -> dict:
    """The content of a COCO file in which each list has been looked at."""
    file = CocoFile(ann_file)
    content = read_json(ann_file)
    for row in content['annotations']:
        file.object_table.read(row, ann_file)
    return content
