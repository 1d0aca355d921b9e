"""Data infos written in other formats, and compared with what is read again from there."""

import os.path as osp
from collections.abc import Sequence

import numpy as np

from ..structures.mask import polygon_area
from .annotations import shortened
from .base import BaseDetDataset

_TOLERANCE = 0.01  # pixels


def infos_of(dataset: BaseDetDataset) -> list[dict]:
    """The data infos of all images of a dataset."""
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def relative_path(info: dict, folder: str) -> str:
    """The path of an image in ``folder``, with the separators that all systems read."""
    return osp.relpath(info['img_path'], folder or '.').replace(osp.sep, '/')


def coco_content(infos: Sequence[dict], classes: Sequence[str], folder: str) -> dict:
    """The content of a COCO file.

    Args:
        infos: Data infos; images get ids from 1 on in their order.
        classes: Names; category ids are their labels + 1.
        folder: What file names are relative to.

    Returns:
        ``images``, ``annotations`` and ``categories``; objects to be ignored are marked ``iscrowd``.
    """
    images = []
    annotations = []
    for image_id, info in enumerate(infos, 1):
        size = {'width': info['width'], 'height': info['height']}
        images.append({'id': image_id, 'file_name': relative_path(info, folder), **size})
        for instance in info['instances']:
            annotations.append({'id': len(annotations) + 1, 'image_id': image_id, **_annotation(instance)})
    categories = [{'id': label, 'name': name} for label, name in enumerate(classes, 1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _annotation(instance: dict) -> dict:
    x1, y1, x2, y2 = instance['bbox']
    annotation = {
        'category_id': instance['bbox_label'] + 1,
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': instance.get('area', _area(instance)),
        'iscrowd': int(instance['ignore_flag']),
    }
    if 'mask' in instance:
        annotation['segmentation'] = plain(instance['mask'])
    if 'keypoints' in instance:
        annotation['keypoints'] = plain(instance['keypoints'])
        annotation['num_keypoints'] = sum(visibility > 0 for visibility in instance['keypoints'][2::3])
    return annotation


def _area(instance: dict) -> float:
    """Square pixels of the polygons of an object, or of its box."""
    if isinstance(instance.get('mask'), list):
        return float(sum(polygon_area(np.asarray(polygon)) for polygon in instance['mask']))
    x1, y1, x2, y2 = instance['bbox']
    return (x2 - x1) * (y2 - y1)


def plain(value: object) -> object:
    """A value as JSON has it: lists for arrays, text for bytes."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode('ascii')
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def first_difference(expected: Sequence[dict], found: Sequence[dict]) -> str:
    """What differs first between data infos of the same pictures; '' if nothing does.

    Pictures are told by their files. Boxes may differ by a hundredth of a pixel, and where one reaches over the border
    of its picture, which some formats don't allow.
    """
    by_path = {osp.abspath(info['img_path']): info for info in found}
    paths = {osp.abspath(info['img_path']) for info in expected}
    if set(by_path) != paths:
        odd = sorted(set(by_path) ^ paths)
        return f'{len(odd)} pictures are on one side only, e.g. {odd[:3]}'
    for info in expected:
        reason = _difference(info, by_path[osp.abspath(info['img_path'])])
        if reason:
            return f'{info["img_path"]}: {reason}'
    return ''


def _difference(expected: dict, found: dict) -> str:
    for key in ('width', 'height'):
        if expected[key] != found[key]:
            return f'{key} is {expected[key]} before and {found[key]} after'
    ours, theirs = expected['instances'], found['instances']
    if len(ours) != len(theirs):
        return f'{len(ours)} objects before, {len(theirs)} after'
    borders = [expected['width'], expected['height']] * 2
    for number, (before, after) in enumerate(zip(ours, theirs)):
        boxes = [np.clip(instance['bbox'], 0, borders) for instance in (before, after)]
        same = np.allclose(*boxes, rtol=0, atol=_TOLERANCE)
        marks = [(instance['bbox_label'], instance['ignore_flag'], 'mask' in instance) for instance in (before, after)]
        if not same or marks[0] != marks[1]:
            return f'object {number} is {shortened(before)} before and {shortened(after)} after'
    return ''
