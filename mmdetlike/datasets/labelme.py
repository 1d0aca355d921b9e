"""Pictures with a JSON file each, as labelme and tools after it write them."""

import itertools
import math
import os.path as osp
from collections.abc import Sequence

from ..registry import DATASETS
from .annotations import read_json
from .named_objects import (
    PICTURE_SUFFIXES,
    AnnotatedPicture,
    NamedObject,
    NamedObjectsDataset,
    bounding_box,
    files_in,
)
from .records import Field, Table, name, optional_identifier, optional_text, real_number, records, side, text, truth

_POINTS_OF_CIRCLE = 64


def _points(value: object) -> list[tuple[float, float]]:
    points = [(real_number(x), real_number(y)) for x, y in records(value)]
    if not all(map(math.isfinite, itertools.chain.from_iterable(points))):
        raise ValueError
    return points


FILES = Table(
    'a labelme file',
    (
        Field('shapes', records, 'a list of shapes', required=True),
        Field('imagePath', optional_text, 'the path of a picture'),
        Field('imageWidth', side, 'a whole number of pixels'),
        Field('imageHeight', side, 'a whole number of pixels'),
    ),
    lambda row: 'the file',
)
SHAPES = Table(
    'a shape',
    (
        Field('label', name, 'the name of a class', required=True),
        Field('points', _points, 'a list of points [x, y]', required=True),
        Field('shape_type', lambda value: 'polygon' if value is None else text(value), "text, as 'polygon'"),
        Field('group_id', optional_identifier, 'a whole number, the same for parts of one object'),
        Field('difficult', truth, 'true or false'),
    ),
    lambda row: f'a shape labeled {row.get("label")!r}',
)


@DATASETS.register_module()
class LabelmeDataset(NamedObjectsDataset):
    """Pictures with boxes and polygons from labelme's JSON files.

    Polygons and circles are masks with the boxes around them, rectangles are boxes. Shapes of one label and one
    ``group_id`` are parts of one object; those marked ``difficult`` get ``ignore_flag``. Points, lines and other shapes
    have no area: they are left out and counted.

    Args:
        data_prefix: ``dict(img='pictures', ann='folder of the JSON files')``; without ``ann`` they are beside the
            pictures. ``imagePath`` in a file is relative to that file; if there is no such picture, it is looked for in
            ``img`` by the name of the JSON file.

    The other arguments are those of ``BaseDetDataset``; ``metainfo=dict(classes=(...))`` names the classes.

    Raises:
        DataError: A file isn't one of labelme's, or has something of another kind than expected.
    """

    ACCEPTED_PREFIXES = ('img', 'ann')

    @property
    def source(self) -> str:
        """What messages call this dataset."""
        return self._folder or type(self).__name__

    @property
    def _folder(self) -> str:
        return self.data_prefix.get('ann') or self.data_prefix.get('img', '')

    def read_pictures(self) -> list[AnnotatedPicture]:
        """The pictures of all JSON files in the folder, with all of their objects."""
        names = files_in(self._folder, ('.json',), 'JSON files')
        return [self._picture(name) for name in names]

    def _picture(self, file_name: str) -> AnnotatedPicture:
        path = osp.join(self._folder, file_name)
        content = FILES.read(read_json(path, self.backend_args), path)
        size = (content['imageWidth'], content['imageHeight'])
        picture = AnnotatedPicture(self._picture_path(file_name, content['imagePath']), file_name[:-5], path)
        picture.size = size if all(size) else None
        shapes = [SHAPES.read(row, path) for row in content['shapes']]
        picture.objects = self._objects(shapes, path)
        return picture

    def _picture_path(self, file_name: str, image_path: str | None) -> str:
        # labelme on Windows writes the separators of Windows
        given = (image_path or '').replace('\\', '/')
        beside = osp.normpath(osp.join(osp.dirname(osp.join(self._folder, file_name)), given))
        if given and osp.isfile(beside):
            return beside
        stem = osp.join(self.data_prefix.get('img', ''), osp.splitext(file_name)[0])
        suffixes = (osp.splitext(given)[1], *PICTURE_SUFFIXES)
        candidates = [stem + suffix for suffix in suffixes if suffix and osp.isfile(stem + suffix)]
        return candidates[0] if candidates else beside if given else f'{stem}.jpg'

    def _objects(self, shapes: list[dict], path: str) -> list[NamedObject]:
        objects: dict[object, NamedObject] = {}
        for number, shape in enumerate(shapes):
            outline = outline_of(shape['shape_type'], shape['points'])
            if outline is None:
                kind = f'of type {shape["shape_type"]}, {len(shape["points"])} points'
                self.report.skip(kind, f'{path}: shape {number}, label {shape["label"]!r}')
                continue
            alone = shape['group_id'] is None
            key = number if alone else (shape['label'], str(shape['group_id']))
            self._add(objects, key, shape, outline)
        return list(objects.values())

    @staticmethod
    def _add(objects: dict, key: object, shape: dict, outline: list[float]) -> None:
        """Add a shape, as an object of its own or to the one that it is part of."""
        polygons = [outline] if shape['shape_type'] != 'rectangle' else None
        if key not in objects:
            objects[key] = NamedObject(shape['label'], bounding_box(outline), polygons, shape['difficult'])
            return
        whole = objects[key]
        corners = [*whole.box, *bounding_box(outline)]
        whole.box = bounding_box(corners)
        # an object of which a part has only a box has no mask
        whole.mask = whole.mask + polygons if whole.mask and polygons else None


def outline_of(shape_type: str, points: Sequence[tuple[float, float]]) -> list[float] | None:
    """The outline x, y, x, y, ... of a shape in pixels; None if it has no area."""
    if shape_type == 'circle' and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        angles = [2 * math.pi * step / _POINTS_OF_CIRCLE for step in range(_POINTS_OF_CIRCLE)]
        points = [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]
    elif shape_type == 'rectangle' and len(points) in (2, 4):
        pass  # two opposite corners, or all four: the box around them is the same
    elif shape_type != 'polygon' or len(points) < 3:
        return None
    return [coordinate for point in points for coordinate in point]
