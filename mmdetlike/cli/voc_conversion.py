"""Annotations of PASCAL VOC as one COCO JSON file."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmdetlike.cli.dataset_check import tell_check
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.annotations import check_boxes, match_classes
from mmdetlike.datasets.errors import DataError, SkipReport
from mmdetlike.datasets.interchange import infos_of
from mmdetlike.datasets.voc_xml import VocImage, annotated_size, image_file, read_image_ids, read_voc_xml
from mmdetlike.utils.whole_files import write_whole


def find_folders(root: Path) -> list[Path]:
    """``root`` if it holds Annotations/, else the folders in it that do.

    Raises:
        DataError: There are none.
    """
    folders = [root] if (root / 'Annotations').is_dir() else sorted(p.parent for p in root.glob('*/Annotations'))
    if not folders:
        raise DataError(f'{root} holds no folder Annotations, nor do the folders in it.')
    return folders


def split_ids(folder: Path, split: str) -> list[str]:
    """Names of the images of ``split``."""
    if split == 'all':
        return sorted(path.stem for path in (folder / 'Annotations').glob('*.xml'))
    named = folder / 'ImageSets' / 'Main' / f'{split}.txt'
    return read_image_ids(str(named if named.is_file() or not Path(split).is_file() else split))


def read_images(root: Path, split: str) -> list[tuple[str, VocImage]]:
    """File name relative to ``root`` and annotation of each image of ``split``."""
    images = []
    for folder in find_folders(root):
        for img_id in tqdm(split_ids(folder, split), desc=folder.name, unit='image'):
            annotation = read_voc_xml(str(folder / 'Annotations' / f'{img_id}.xml'))
            path = folder / 'JPEGImages' / image_file(annotation, img_id)
            images.append((path.relative_to(root).as_posix(), annotation))
    if not images:
        raise DataError(f'Split {split!r} of {root} lists no images.')
    return images


def annotations_of(
    image_id: int, size: tuple[int, int], image: VocImage, labels: dict[str, int], report: SkipReport
) -> list[dict]:
    """COCO annotations, without ids, of the objects of an image whose class is in ``labels``."""
    objects = [item for item in image.objects if item.name in labels]
    boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 4)
    sizes = np.tile(np.array(size, dtype=np.float64), (len(objects), 1))
    boxes, keep = check_boxes(boxes, sizes, [f'image {image.filename}'] * len(objects), report)
    rows = []
    for item, (x1, y1, x2, y2), valid in zip(objects, boxes.tolist(), keep):
        if valid:
            box = [x1, y1, x2 - x1, y2 - y1]
            rows.append(
                {
                    'image_id': image_id,
                    'category_id': labels[item.name] + 1,
                    'bbox': box,
                    'area': box[2] * box[3],
                    'iscrowd': int(item.difficult),
                }
            )
    return rows


def convert(root: Path, split: str, classes: Sequence[str] | None = None) -> tuple[dict, SkipReport]:
    """The COCO content of ``split``, and what was left out of it.

    Raises:
        DataError: Something cannot be read, or none of ``classes`` is there.
    """
    read = read_images(root, split)
    names = sorted({item.name for _, image in read for item in image.objects})
    labels = match_classes(classes or names, names, str(root)) if names else {}
    report = SkipReport(str(root))
    images, annotations = [], []
    for image_id, (file_name, image) in enumerate(read, 1):
        width, height = size = annotated_size(image, str(root / file_name))
        images.append({'id': image_id, 'file_name': file_name, 'width': width, 'height': height})
        annotations += annotations_of(image_id, size, image, labels, report)
    annotations = [{'id': number, **row} for number, row in enumerate(annotations, 1)]
    categories = [{'id': label, 'name': name} for label, name in enumerate(classes or names, 1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}, report


def write_coco(args: argparse.Namespace) -> None:
    """Write the file that the command line describes."""
    classes = [name.strip() for name in args.classes.split(',')] if args.classes else None
    content, report = convert(args.root, args.split, classes)
    write_whole(args.out, json.dumps(content).encode())
    if report.examples:
        print(report.summary())
    counts = f'{len(content["images"])} images, {len(content["annotations"])} objects'
    names = [category['name'] for category in content['categories']]
    print(f'{args.out}: {counts}, classes {", ".join(names)}')
    if args.check:
        prefix = {'img': str(args.root)}
        written = CocoDataset(
            ann_file=str(args.out), data_prefix=prefix, metainfo={'classes': names}, test_mode=True, pipeline=[]
        )
        tell_check(infos_of(written), names, report, args.out.with_suffix('.check.png'))
