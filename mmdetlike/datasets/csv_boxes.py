"""Boxes from one CSV file, an object a line."""

import os.path as osp
from collections.abc import Sequence

from ..errors import ConfigError
from ..registry import DATASETS
from .errors import DataError
from .named_objects import AnnotatedPicture, NamedObject, NamedObjectsDataset
from .records import Field, Table, name, real_number, side, text, truth
from .text_tables import read_csv

# what exporters call the columns
COLUMN_NAMES = {
    'file_name': ('filename', 'image', 'image_path', 'img_path', 'path', 'file', 'picture', 'image_name'),
    'label': ('class', 'class_name', 'category', 'name', 'label_name'),
    'x1': ('xmin', 'x_min', 'left'),
    'y1': ('ymin', 'y_min', 'top'),
    'x2': ('xmax', 'x_max', 'right'),
    'y2': ('ymax', 'y_max', 'bottom'),
    'width': ('image_width', 'img_width'),
    'height': ('image_height', 'img_height'),
    'ignore': ('difficult', 'iscrowd'),
}
_OUR_NAMES = {other: ours for ours, others in COLUMN_NAMES.items() for other in others}
_CORNERS = ('x1', 'y1', 'x2', 'y2')


def _optional(read):
    return lambda value: None if value is None else read(value)


ROWS = Table(
    'a line',
    (
        Field('file_name', text, 'the name of a picture', required=True),
        Field('label', _optional(name), 'the name of a class'),
        *(Field(corner, _optional(real_number), 'a number of pixels') for corner in _CORNERS),
        Field('width', side, 'a whole number of pixels'),
        Field('height', side, 'a whole number of pixels'),
        Field('ignore', truth, '0 or 1'),
    ),
    lambda row: f'picture {row.get("file_name")!r}',
)


def our_column_name(column: str) -> str:
    """What we call a column."""
    plain = column.strip().lower().replace(' ', '_')
    return _OUR_NAMES.get(plain, plain)


@DATASETS.register_module()
class CSVDataset(NamedObjectsDataset):
    """Pictures with boxes from a CSV file, an object a line.

    Its columns are ``file_name``, ``label``, ``x1``, ``y1``, ``x2``, ``y2`` in pixels and, if it has them, ``width``
    and ``height`` of the picture and ``ignore``; other names that are common are known, too (``COLUMN_NAMES``). A line
    without a box says that a picture shows no objects. Commas, semicolons or tabs part the columns.

    Args:
        ann_file: The CSV file, relative to ``data_root``.
        columns: Names of the columns, if the first line isn't them.
        data_prefix: ``dict(img='pictures/')``.

    The other arguments are those of ``BaseDetDataset``; ``metainfo=dict(classes=(...))`` names the classes.

    Raises:
        ConfigError: ``columns`` lack one that is needed.
        DataError: The file lacks a column, or a line has something of another kind.
    """

    def __init__(self, *args, columns: Sequence[str] | None = None, **kwargs) -> None:
        needed = {'file_name', 'label', *_CORNERS}
        if columns is not None and needed - set(map(our_column_name, columns)):
            missing = sorted(needed - set(map(our_column_name, columns)))
            raise ConfigError(f'columns={list(columns)!r} lack {missing}.')
        self.columns = columns
        super().__init__(*args, **kwargs)

    def read_pictures(self) -> list[AnnotatedPicture]:
        """All pictures in the order of their first lines, with all of their objects."""
        columns = None if self.columns is None else list(map(our_column_name, self.columns))
        pictures: dict[str, AnnotatedPicture] = {}
        for place, row in read_csv(self.ann_file, ROWS, self.backend_args, columns, our_column_name):
            file_name = row['file_name']
            path = osp.join(self.data_prefix.get('img', ''), file_name)
            picture = pictures.setdefault(file_name, AnnotatedPicture(path, file_name, place))
            self._check_size(picture, row, place)
            given = [key for key in ('label', *_CORNERS) if row[key] is not None]
            if given and len(given) <= len(_CORNERS):
                raise DataError(f'{place}: {ROWS.name(row)} has only {given}; expected a label and x1, y1, x2, y2.')
            if given:
                box = [row[corner] for corner in _CORNERS]
                picture.objects.append(NamedObject(row['label'], box, ignored=row['ignore']))
        return list(pictures.values())

    @staticmethod
    def _check_size(picture: AnnotatedPicture, row: dict, place: str) -> None:
        if row['width'] is None or row['height'] is None:
            return
        size = (row['width'], row['height'])
        if picture.size not in (None, size):
            raise DataError(
                f'{place}: picture {picture.name!r} is of {size[0]} x {size[1]} pixels here, and of '
                f'{picture.size[0]} x {picture.size[1]} in a line before.'
            )
        picture.size = size
