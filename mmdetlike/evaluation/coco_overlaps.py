"""Detections of a file in COCO's result format beside the objects of an annotation file, and how they overlap."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from faster_coco_eval.core import mask as rle

from mmdetlike.datasets.annotations import read_json, shortened
from mmdetlike.datasets.coco_file import CocoFile
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.records import Field, Table, anything, finite_box, identifier, same_id, score

from .functional.coco_errors import ImageOverlaps
from .metrics.coco_truth import CocoTruth
from .metrics.convert import encode_masks

DETECTIONS = Table(
    'a detection',
    (
        Field('image_id', identifier, 'a whole number or text', required=True),
        Field('category_id', identifier, 'a whole number or text', required=True),
        Field('score', score, 'a number', required=True),
        Field('bbox', finite_box, 'four numbers [x, y, width, height]'),
        Field('segmentation', anything, ''),
    ),
    lambda row: f'a detection in image {row.get("image_id")!r}',
)
_FIELDS = {'bbox': 'bbox', 'segm': 'segmentation'}


class FileWithSupercategories(CocoFile):
    """A COCO file that keeps the ``supercategory`` of each category; None where there is none."""

    def read_lists(self, content: dict) -> None:
        super().read_lists(content)
        self.supercategories = [row.get('supercategory') for row in content['categories']]


class TruthWithSupercategories(CocoTruth):
    """The objects of a COCO file, with its supercategories."""

    file_type = FileWithSupercategories


class CocoOverlaps:
    """Detections and objects of each image, with their overlaps.

    Args:
        results: File of detections.
        ann_file: File of annotations.
        kind: 'bbox' or 'segm'.

    Attributes:
        classes: Names of the classes.
        supercategories: What is equal for classes of one supercategory; the class itself where the file doesn't say.
        images: One for each image of the annotation file.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: One of them can't be used, or they don't fit together.
    """

    def __init__(self, results: str | Path, ann_file: str | Path, kind: str = 'bbox') -> None:
        self.kind = kind
        truth = TruthWithSupercategories(str(ann_file), None, masks=kind == 'segm', keypoints=False)
        if not truth.has_annotations:
            raise DataError(f'{ann_file} has no annotations to hold detections against')
        file = truth.file
        self.classes = [category['name'] for category in file.categories]
        self.supercategories = [kin or name for kin, name in zip(file.supercategories, self.classes)]
        found = self._read(results, file, str(ann_file))
        sizes = {same_id(image['id']): None for image in file.images}
        objects = defaultdict(list)
        for row in truth.annotations(file.categories, sizes):
            objects[same_id(row['image_id'])].append({**row, 'label': self._label(row, file)})
        self.images = [self._overlaps(found[key], objects[key]) for key in sizes]

    def _label(self, row: dict, file: CocoFile) -> int:
        return file.category_places[same_id(row['category_id'])]

    def _read(self, path: str | Path, file: CocoFile, ann_file: str) -> dict[str, list[dict]]:
        """The detections of each image, by ``same_id`` of its id."""
        rows = read_json(str(path))
        if not isinstance(rows, list):
            raise DataError(f'{path}: expected a list of detections, got {shortened(rows)}')
        field = _FIELDS[self.kind]
        found = defaultdict(list)
        for row in rows:
            record = DETECTIONS.read(row, str(path))
            for key, known, what in (
                ('image_id', file.image_places, 'image'),
                ('category_id', file.category_places, 'category'),
            ):
                if same_id(record[key]) not in known:
                    raise DataError(f'{path}: a detection has {key}={record[key]!r}, but {ann_file} has no such {what}')
            if row.get(field) is None:
                raise DataError(f'{path}: {DETECTIONS.name(row)} has no {field}, which --type {self.kind} needs')
            record['label'] = self._label(record, file)
            found[same_id(record['image_id'])].append(record)
        return found

    def _overlaps(self, found: list[dict], objects: list[dict]) -> ImageOverlaps:
        found = sorted(found, key=lambda row: -row['score'])  # stable: of equal scores the first in the file
        if self.kind == 'segm':
            objects = [row for row in objects if 'segmentation' in row]
        crowd = [row['iscrowd'] for row in objects]
        shapes = self._shapes(found)
        areas = rle.area(shapes) if self.kind == 'segm' and shapes else [row[2] * row[3] for row in shapes]
        iou = np.zeros((len(found), len(objects)))
        if iou.size:
            iou = np.asarray(rle.iou(shapes, self._shapes(objects), crowd)).reshape(iou.shape)
        return ImageOverlaps(
            np.array([row['score'] for row in found], dtype=float),
            np.array([row['label'] for row in found], dtype=int),
            np.array(areas, dtype=float),
            np.array([row['label'] for row in objects], dtype=int),
            np.array([row['area'] for row in objects], dtype=float),
            np.array(crowd, dtype=bool),
            iou,
        )

    def _shapes(self, rows: list[dict]) -> list:
        if self.kind == 'segm':
            return encode_masks([row['segmentation'] for row in rows])
        # boxes of no size are read as None; they overlap with nothing
        return [list(row['bbox'] or (0.0, 0.0, 0.0, 0.0)) for row in rows]
