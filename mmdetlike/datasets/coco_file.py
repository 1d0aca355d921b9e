"""COCO's JSON files, read and checked once for datasets and metrics alike, so that both see the same objects."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .annotations import check_boxes, match_classes, read_json, shortened
from .errors import DataError, SkipReport
from .records import (
    Field,
    Table,
    anything,
    area,
    box,
    identifier,
    keypoints,
    name,
    optional_identifier,
    optional_text,
    optional_whole_number,
    point_coords,
    point_labels,
    records,
    same_id,
    side,
    truth,
    whole_number,
)

_ID = 'a whole number or text'
_WORTH_AN_ARRAY = 16  # numbers, as arrays have a head of 112 bytes
_SIDE = 'a whole number of pixels, at most 1000000, or null or 0 if unknown'
_BOX = 'four numbers [x, y, width, height], or null or [] for no object'


def _object_name(row: dict) -> str:
    return f'annotation {row.get("id")} of image {row.get("image_id")!r}'


IMAGES = Table(
    'an image',
    (
        Field('id', identifier, _ID, required=True),
        Field('file_name', optional_text, 'the name of a file'),
        Field('width', side, _SIDE),
        Field('height', side, _SIDE),
    ),
    lambda row: f'image {row.get("id")!r}',
)
CATEGORIES = Table(
    'a category',
    (
        Field('id', identifier, _ID, required=True),
        Field('name', name, 'text', required=True),
        Field('isthing', truth, '0 or 1'),
    ),
    lambda row: f'category {row.get("id")!r}',
)
OBJECTS = Table(
    'an annotation',
    (
        Field('id', anything, ''),
        Field('image_id', identifier, _ID, required=True),
        Field('category_id', optional_identifier, _ID, required=True),
        Field('bbox', box, _BOX),
        Field('iscrowd', truth, '0 or 1'),
        Field('ignore', truth, '0 or 1'),
        Field('area', area, ''),
        Field('segmentation', anything, ''),
        Field('keypoints', keypoints, 'a flat list of x, y, visibility of each point'),
        Field('point_coords', point_coords, 'a list of [x, y] of each point'),
        Field('point_labels', point_labels, 'a list of 0 or 1 for each point'),
    ),
    _object_name,
)
VIDEOS = Table(
    'a video',
    (Field('id', identifier, _ID, required=True), Field('name', optional_text, 'text')),
    lambda row: f'video {row.get("id")!r}',
)
FRAMES = Table(
    'an image',
    (
        *IMAGES.fields,
        Field('video_id', identifier, _ID, required=True),
        Field('frame_id', whole_number, 'a whole number', required=True),
    ),
    IMAGES.name,
)
TRACKED_OBJECTS = Table(
    'an annotation',
    (*OBJECTS.fields, Field('instance_id', optional_whole_number, 'a whole number, the same in all frames')),
    OBJECTS.name,
)
PANOPTIC = Table(
    'a panoptic annotation',
    (
        Field('image_id', identifier, _ID, required=True),
        Field('file_name', optional_text, 'the name of a PNG'),
        Field('segments_info', records, 'a list of segments', required=True),
    ),
    lambda row: f'the panoptic annotation of image {row.get("image_id")!r}',
)
SEGMENTS = Table(
    'a segment',
    (
        Field('id', whole_number, 'a whole number', required=True),
        Field('image_id', identifier, _ID, required=True),
        *(shared for shared in OBJECTS.fields if shared.key in ('category_id', 'bbox', 'iscrowd', 'area')),
    ),
    lambda row: f'segment {row.get("id")!r} of image {row.get("image_id")}',
)


@dataclass
class ObjectColumns:
    """The objects of a file that have a listed image, a listed category and a box; n in all.

    Attributes:
        ids: What the file calls each.
        images: (n,) index of the image of each in the file's list.
        categories: (n,) index of the category of each in the file's list.
        boxes: (n, 4) x, y, width, height in pixels, as they are in the file.
        crowd: (n,) bool, marked iscrowd.
        ignored: (n,) bool, marked iscrowd or ignore: neither to be learned nor missed.
        areas: (n,) square pixels, NaN where the file says nothing usable.
        segmentations: What the file says, unchecked; None for none.
        keypoints: Flat x, y, visibility of each; None for none.
        points: ``point_coords`` and ``point_labels`` of each: x, y of points that lie in the object (1) or outside (0);
            None for none.
        extras: What else is kept of each, as the file has it; None for nothing.
        instance_ids: What names the same object in all frames of a video; None for none.
    """

    ids: list = field(default_factory=list)
    images: list | np.ndarray = field(default_factory=list)
    categories: list | np.ndarray = field(default_factory=list)
    boxes: list | np.ndarray = field(default_factory=list)
    crowd: list | np.ndarray = field(default_factory=list)
    ignored: list | np.ndarray = field(default_factory=list)
    areas: list | np.ndarray = field(default_factory=list)
    segmentations: list = field(default_factory=list)
    keypoints: list = field(default_factory=list)
    points: list = field(default_factory=list)
    extras: list = field(default_factory=list)
    instance_ids: list = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, record: dict, image: int, category: int) -> None:
        """Add the object that ``record`` describes."""
        self.ids.append(record['id'])
        self.images.append(image)
        self.categories.append(category)
        self.boxes.append(record['bbox'])
        self.crowd.append(record['iscrowd'])
        self.ignored.append(record['iscrowd'] or record.get('ignore', False))
        self.areas.append(record['area'])
        self.segmentations.append(record.get('segmentation'))
        self.keypoints.append(record.get('keypoints'))
        coords = record.get('point_coords')
        self.points.append(None if coords is None else dict(point_coords=coords, point_labels=record['point_labels']))
        self.extras.append(record.get('extras'))
        self.instance_ids.append(record.get('instance_id'))

    def to_arrays(self) -> 'ObjectColumns':
        """Turn the columns that have a shape above into arrays, in place; nothing can be appended then."""
        self.images = np.array(self.images, dtype=np.int64)
        self.categories = np.array(self.categories, dtype=np.int64)
        self.boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        self.crowd = np.array(self.crowd, dtype=bool)
        self.ignored = np.array(self.ignored, dtype=bool)
        self.areas = np.array(self.areas, dtype=np.float64)
        return self


class CocoFile:
    """Images and categories of a COCO file, checked.

    Args:
        path: The JSON file.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.
        needs_annotations: Whether there has to be a list of annotations.

    Attributes:
        images: Of each ``id``, ``file_name``, ``width`` and ``height``, None where the file doesn't say.
        categories: Of each ``id``, ``name`` and ``isthing``.
        annotations: The list of the file, unchecked; None if it has none.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't JSON, lacks something, or has a field of another kind than expected.
    """

    image_table = IMAGES
    object_table = OBJECTS
    needed_lists = ('images', 'categories')

    def __init__(self, path: str, backend_args: dict | None = None, needs_annotations: bool = True) -> None:
        self.path = path
        content = self._content(backend_args, needs_annotations)
        self.read_lists(content)
        self.image_places = self._index_images()
        self.category_places = self._index_categories()

    def read_content(self, backend_args: dict | None) -> object:
        """What the file holds, in COCO's form but unchecked."""
        return read_json(self.path, backend_args, object_hook=_with_arrays)

    def read_lists(self, content: dict) -> None:
        """Check the lists of the file; annotations are checked by ``objects``."""
        self.images = [self.image_table.read(row, self.path) for row in content['images']]
        self.categories = [CATEGORIES.read(row, self.path) for row in content['categories']]
        self.without_isthing = [row['name'] for row in content['categories'] if 'isthing' not in row]
        self.annotations = content.get('annotations')

    def _content(self, backend_args: dict | None, needs_annotations: bool) -> dict:
        content = self.read_content(backend_args)
        if not isinstance(content, dict):
            raise DataError(f'{self.path}: expected a COCO file, a JSON object, got {shortened(content)}.')
        if not needs_annotations and content.get('annotations') is None:
            content.pop('annotations', None)
        needed = list(self.needed_lists) + (['annotations'] if needs_annotations or 'annotations' in content else [])
        missing = [key for key in needed if key not in content]
        if missing:
            raise DataError(f'{self.path}: not a COCO file, it has no list {missing}; its keys: {list(content)}.')
        for key in needed:
            if not isinstance(content[key], list):
                raise DataError(f'{self.path}: expected {key!r} to be a list, got {shortened(content[key])}.')
        return content

    def _index_images(self) -> dict[str, int]:
        """The index in ``images`` of each image, by ``same_id`` of its id."""
        indices: dict[str, int] = {}
        for index, image in enumerate(self.images):
            other = indices.setdefault(same_id(image['id']), index)
            if other != index:
                different = len({same_id(image['id']) for image in self.images})
                raise DataError(
                    f'{self.path}: {len(self.images)} images but only {different} different ids; {image["id"]!r} is '
                    f'the id of {self.images[other]["file_name"]!r} and of {image["file_name"]!r}.'
                )
        return indices

    def _index_categories(self) -> dict[str, int]:
        """The index in ``categories`` of each category, by ``same_id`` of its id; the same entry may be there twice."""
        indices: dict[str, int] = {}
        for index, category in enumerate(self.categories):
            other = self.categories[indices.setdefault(same_id(category['id']), index)]
            if other['name'] != category['name']:
                raise DataError(
                    f'{self.path}: two categories have the id {category["id"]!r}: {other["name"]!r} and '
                    f'{category["name"]!r}.'
                )
        return indices

    def labels(self, classes: Sequence[str]) -> dict[int | str, int]:
        """The label of each category id, which is the index of its name in ``classes``; other categories are left out.

        Raises:
            DataError: The file has none of the classes, or two ids for one of them.
        """
        categories = [self.categories[index] for index in self.category_places.values()]
        matched = match_classes(classes, [c['name'] for c in categories], self.path, [c['id'] for c in categories])
        ids = {category['name']: category['id'] for category in categories}
        return {ids[category]: label for category, label in matched.items()}

    def objects(self, report: SkipReport, extra_keys: Sequence[str] = ()) -> ObjectColumns:
        """The objects of the annotations; ``report`` counts those that have no image, category or box.

        Args:
            report: What is left out.
            extra_keys: Keys of annotations that are kept as they are.
        """
        return self.columns((self._read_object(row, extra_keys) for row in self.annotations or ()), report)

    def _read_object(self, row: object, extra_keys: Sequence[str]) -> dict:
        record = self.object_table.read(row, self.path)
        if extra_keys:
            record['extras'] = {key: row[key] for key in extra_keys if key in row}
        return record

    def columns(self, rows: Iterable[dict], report: SkipReport) -> ObjectColumns:
        """The objects that checked records describe; ``report`` counts those that have no image, category or box."""
        columns = ObjectColumns()
        for record in rows:
            image = self.image_places.get(same_id(record['image_id']))
            category = self.category_places.get(same_id(record['category_id']))
            reason = self._unusable(record, image, category)
            if reason:
                report.skip(reason, f'{_object_name(record)}, category_id={record["category_id"]!r}')
            else:
                columns.append(record, image, category)
        self._check_keypoints(columns)
        self._check_points(columns)
        return columns.to_arrays()

    @staticmethod
    def _unusable(record: dict, image: int | None, category: int | None) -> str:
        """The reason why an object can't be used; '' if it can."""
        if image is None:
            return 'of an image not listed'
        if record['bbox'] is None:
            return 'without a box'
        if record['category_id'] is None:
            return 'without a category'
        return 'of a category not listed' if category is None else ''

    def _check_keypoints(self, columns: ObjectColumns) -> None:
        first = next((row for row, points in enumerate(columns.keypoints) if points), None)
        for row, points in enumerate(columns.keypoints):
            expected = len(columns.keypoints[first]) // 3 if points else 0
            if points and len(points) != 3 * expected:
                raise DataError(
                    f'{self.path}: annotation {columns.ids[row]} has {len(points) // 3} keypoints, annotation '
                    f'{columns.ids[first]} has {expected}; expected one number everywhere.'
                )

    def _check_points(self, columns: ObjectColumns) -> None:
        for annotation, points in zip(columns.ids, columns.points):
            counts = None if points is None else [len(values or ()) for values in points.values()]
            if counts is not None and counts[0] != counts[1]:
                raise DataError(
                    f'{self.path}: annotation {annotation} has {counts[0]} point_coords and {counts[1]} point_labels; '
                    'expected as many.'
                )

    def usable(
        self, columns: ObjectColumns, wanted: Iterable[int | str], sizes: np.ndarray, report: SkipReport
    ) -> tuple[np.ndarray, np.ndarray]:
        """Select the objects of the wanted categories whose boxes are usable.

        Args:
            columns: From ``objects``.
            wanted: Ids of the categories to use.
            sizes: (number of images, 2) width and height; infinite where unknown.
            report: Counts boxes that are wrong or clipped.

        Returns:
            The rows (m,) and boxes (m, 4) xyxy, clipped to their images.
        """
        indices = [self.category_places[same_id(category)] for category in wanted]
        rows = np.flatnonzero(np.isin(columns.categories, indices))
        report.leave_out('objects of other classes', len(columns) - len(rows))
        boxes = columns.boxes[rows]
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        sizes = sizes[columns.images[rows]]
        boxes, keep = check_boxes(boxes, sizes, lambda i: self.object_name(columns, rows[i]), report)
        return rows[keep], boxes[keep]

    def object_name(self, columns: ObjectColumns, row: int) -> str:
        """The name in messages of the object in ``row``."""
        return f'annotation {columns.ids[row]} of image {self.images[columns.images[row]]["id"]!r}'

    @cached_property
    def known_sizes(self) -> np.ndarray:
        """(number of images, 2) width and height in pixels, infinite where the file doesn't know them."""
        sizes = [(image['width'] or np.inf, image['height'] or np.inf) for image in self.images]
        return np.array(sizes, dtype=np.float64).reshape(-1, 2)


def _with_arrays(row: dict) -> dict:
    """A record with arrays in place of its polygons and run lengths: as lists, 100 MB of a file take 600 MB."""
    for key in ('segmentation', 'counts'):
        if isinstance(row.get(key), list):
            row[key] = _as_array(row[key])
    return row


def _as_array(values: list) -> list | np.ndarray:
    """An array of numbers, for a list of lists one of each; what is anything else stays as it is."""
    if values and all(type(value) is list for value in values):
        return [_as_array(value) for value in values]
    # the types as a set: a file has millions of numbers, and bool, which is an int to isinstance, is none
    if len(values) < _WORTH_AN_ARRAY or not set(map(type, values)) <= {int, float}:
        return values
    try:
        return np.array(values)
    except OverflowError:  # a whole number of more than 64 bits
        return values


def panoptic_annotations(file: CocoFile) -> list[dict]:
    """The annotations of a panoptic file, checked: ``image_id``, ``file_name`` (or None) and ``segments_info``.

    Raises:
        DataError: One of them, or one of its segments, has a field of another kind than expected.
    """
    annotations = []
    for row in file.annotations or ():
        annotation = PANOPTIC.read(row, file.path)
        image_id = {'image_id': annotation['image_id']}
        # only the annotation names the image, but a message about a segment should too
        segments = [{**row, **image_id} if isinstance(row, dict) else row for row in annotation['segments_info']]
        annotation['segments_info'] = [SEGMENTS.read(segment, file.path) for segment in segments]
        annotations.append(annotation)
    return annotations
