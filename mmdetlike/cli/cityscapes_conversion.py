"""Instances of Cityscapes, read from its pictures of instance ids and written to them."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from mmdetlike.cli.coco_writers import Target
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.interchange import relative_path
from mmdetlike.evaluation.functional.cityscapes import INSTANCE_CLASSES, PER_CLASS
from mmdetlike.structures.mask import mask_to_bitmap

_PICTURE = '_leftImg8bit.png'
_TRUTH = '_gtFine_instanceIds.png'
CLASSES = tuple(INSTANCE_CLASSES)


def read_cityscapes(pictures: Path, truth: Path) -> list[dict]:
    """Data infos of the pictures ``pictures/CITY/NAME_leftImg8bit.png``, their masks as run lengths.

    Args:
        pictures: The folder of a split, as ``leftImg8bit/train``.
        truth: The folder of its annotations, as ``gtFine/train``, with ``CITY/NAME_gtFine_instanceIds.png``.

    Returns:
        Data infos with objects of the eight classes that have instances; groups of them are to be ignored.

    Raises:
        DataError: There are no pictures, or one lacks its annotation, which may not be readable either.
    """
    paths = sorted(pictures.glob(f'*/*{_PICTURE}'))
    if not paths:
        raise DataError(f'{pictures}: there are no pictures CITY/NAME{_PICTURE} in it.')
    return [info_of(path, truth) for path in tqdm(paths, desc='Cityscapes', unit='image', leave=False)]


def info_of(path: Path, truth: Path) -> dict:
    """The data info of a picture ``CITY/NAME_leftImg8bit.png``, whose annotation is in ``truth``."""
    ids_path = truth / path.parent.name / path.name.replace(_PICTURE, _TRUTH)
    if not ids_path.is_file():
        raise DataError(f'{path}: its annotation {ids_path} does not exist.')
    ids = cv2.imread(str(ids_path), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2:
        raise DataError(f'{ids_path}: expected a gray picture of 16 bits, the instance id of each pixel.')
    return {
        'img_path': str(path),
        'img_id': path.name.removesuffix(_PICTURE),
        'height': ids.shape[0],
        'width': ids.shape[1],
        'instances': instances_of(ids),
    }


def instances_of(ids: np.ndarray) -> list[dict]:
    """The instances in a picture (h, w) of ids: class * 1000 + number, or the class alone for a group."""
    labels = {class_id: label for label, class_id in enumerate(INSTANCE_CLASSES.values())}
    instances = []
    for value in np.unique(ids).tolist():
        is_group = value < PER_CLASS
        class_id = value if is_group else value // PER_CLASS
        if class_id in labels:
            instances.append(_instance(ids == value, labels[class_id], is_group))
    return instances


def _instance(pixels: np.ndarray, label: int, is_group: bool) -> dict:
    runs = coco_mask.encode(np.asfortranarray(pixels, dtype=np.uint8))
    x, y, width, height = coco_mask.toBbox(runs).tolist()
    return {
        'bbox': [x, y, x + width, y + height],
        'bbox_label': label,
        'ignore_flag': int(is_group),
        'area': int(pixels.sum()),
        'mask': {'size': list(runs['size']), 'counts': runs['counts'].decode('ascii')},
    }


def write_cityscapes(infos: list[dict], target: Target) -> list[dict]:
    """Write ``CITY/NAME_gtFine_instanceIds.png`` a picture; returns what can be seen in these.

    A pixel belongs to one object: the smallest of those that cover it. Objects to be ignored are groups, of which there
    is one of each class.

    Raises:
        DataError: A picture isn't named as those of Cityscapes are, or shows too many objects of a class.
    """
    written = []
    for info in tqdm(infos, desc='Cityscapes', unit='image', leave=False):
        name = relative_path(info, target.images)
        if name.count('/') != 1 or not name.endswith(_PICTURE):
            raise DataError(f'{info["img_path"]}: Cityscapes has pictures {target.images}/CITY/NAME{_PICTURE} only.')
        ids = instance_ids(info, target.lost)
        encoded = cv2.imencode('.png', ids)[1]
        target.annotation_file(info, _TRUTH, end=_PICTURE).write_bytes(encoded)
        written.append({**info, 'instances': instances_of(ids)})
    return written


def instance_ids(info: dict, lost: Counter) -> np.ndarray:
    """The picture (h, w) of uint16 ids that shows the instances of a data info; ``lost`` counts what it can't show."""
    size = (info['height'], info['width'])
    masked = [instance for instance in info['instances'] if 'mask' in instance]
    lost['objects without masks'] += len(info['instances']) - len(masked)
    bitmaps = [mask_to_bitmap(instance['mask'], *size).astype(bool) for instance in masked]
    values = _values(masked, info['img_path'])
    ids = np.zeros(size, np.uint16)
    for index in sorted(range(len(masked)), key=lambda index: -bitmaps[index].sum()):  # the smallest lies on top
        ids[bitmaps[index]] = values[index]
    for bitmap, value in zip(bitmaps, values):
        seen = (ids[bitmap] == value).sum()
        lost['objects that smaller ones hide'] += seen == 0
        lost['objects that smaller ones hide in part'] += 0 < seen < bitmap.sum()
    groups = Counter(value for value in values if value < PER_CLASS)
    lost['groups beside another one of their class'] += sum(groups.values()) - len(groups)
    return ids


def _values(instances: list[dict], img_path: str) -> list[int]:
    """What the pixels of each instance are: the class of a group, class * 1000 + number of an object."""
    class_ids = list(INSTANCE_CLASSES.values())
    numbers: Counter[int] = Counter()
    values = []
    for instance in instances:
        class_id = class_ids[instance['bbox_label']]
        if instance['ignore_flag']:
            values.append(class_id)
            continue
        values.append(class_id * PER_CLASS + numbers[class_id])
        numbers[class_id] += 1
    if numbers and max(numbers.values()) > PER_CLASS:
        raise DataError(f'{img_path}: more than {PER_CLASS} objects of a class; Cityscapes numbers up to {PER_CLASS}.')
    return values
