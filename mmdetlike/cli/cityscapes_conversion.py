"""Instances of Cityscapes, read from its pictures of instance ids."""

from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from mmdetlike.datasets.errors import DataError
from mmdetlike.evaluation.functional.cityscapes import INSTANCE_CLASSES, PER_CLASS

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
    return [_info(path, truth) for path in tqdm(paths, desc='Cityscapes', unit='image', leave=False)]


def _info(path: Path, truth: Path) -> dict:
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
