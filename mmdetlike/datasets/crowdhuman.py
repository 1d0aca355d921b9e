"""CrowdHuman: A Benchmark for Detecting Human in a Crowd (arXiv:1805.00123): a JSON object a picture and line."""

import os.path as osp
from collections.abc import Sequence

import numpy as np

from ..registry import DATASETS
from .annotations import check_boxes, match_classes, read_json, shortened
from .base import BaseDetDataset
from .errors import DataError, ImageError, SkipReport
from .picture_size import picture_size
from .records import Field, Table, box, identifier, records, same_id, side, text, truth
from .text_tables import read_json_lines

REGION_TO_IGNORE = 'mask'  # the tag of what looks like a person but isn't: posters, statues, reflections

PICTURES = Table(
    'a picture',
    (
        Field('ID', identifier, 'the name of a picture without .jpg', required=True),
        Field('gtboxes', lambda value: [] if value is None else records(value), 'a list of boxes'),
    ),
    lambda row: f'picture {row.get("ID")!r}',
)


def _ignored(extra: object) -> bool:
    if extra is None:
        return False
    if not isinstance(extra, dict):
        raise ValueError
    return truth(extra.get('ignore'))


# the box of each part of a person, and the attributes that say whether it is one to ignore
PARTS = {'body': ('fbox', 'extra'), 'head': ('hbox', 'head_attr')}


def _boxes(part: str) -> Table:
    key, attributes = PARTS[part]
    return Table(
        'a box',
        (
            Field('tag', text, "text, as 'person'", required=True),
            # heads that can't be seen have no box
            Field(key, box, f'four numbers [x, y, width, height] of the {part}', required=part == 'body'),
            Field(attributes, _ignored, "an object, whose 'ignore' is 0 or 1"),
        ),
        lambda row: f'a box tagged {row.get("tag")!r}',
    )


def read_odgt(path: str, backend_args: dict | None = None, part: str = 'body') -> list[dict]:
    """The pictures of a file, checked: ``ID`` and ``gtboxes``, whose boxes have ``tag`` and the two keys of ``part``.

    The second of these keys (``extra``, ``head_attr``) becomes a bool, whether the box is to be ignored.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line isn't JSON, lacks something or has something of another kind, or two have one ID.
    """
    boxes = _boxes(part)
    pictures: dict[str, dict] = {}
    for place, picture in read_json_lines(path, PICTURES, backend_args):
        key = same_id(picture['ID'])
        if key in pictures:
            raise DataError(f'{place}: picture {picture["ID"]!r} is there already; expected one line for each.')
        source = f'{place}, picture {picture["ID"]!r}'
        picture['gtboxes'] = [boxes.read(row, source) for row in picture['gtboxes']]
        pictures[key] = picture
    return list(pictures.values())


@DATASETS.register_module()
class CrowdHumanDataset(BaseDetDataset):
    """People in crowds, from CrowdHuman's ``.odgt`` files.

    A box is that of the full body, seen or not, so it may reach over the border of the picture and isn't clipped. Boxes
    marked ignore, and those with another tag than a class, get ``ignore_flag``. Boxes without area are skipped and
    counted. The file has no sizes of pictures: they are read from the pictures, or from ``extra_ann_file``.

    Args:
        ann_file: ``annotation_train.odgt``, relative to ``data_root``.
        extra_ann_file: A JSON file of height and width by picture, ``{"273271,c9db000d5146c15": [600, 800]}``, relative
            to ``data_root``: with it no picture has to be opened for its size.
        data_prefix: ``dict(img='Images/')``.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line of it is wrong, or the size of a picture isn't known.
    """

    METAINFO = {'classes': ('person',), 'palette': [(220, 20, 60)]}

    def __init__(self, *args, extra_ann_file: str | None = None, **kwargs) -> None:
        self.extra_ann_file = extra_ann_file
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures of the file, in its order."""
        self.report = SkipReport(self.ann_file)
        pictures = read_odgt(self.ann_file, self.backend_args)
        tags = sorted({row['tag'] for picture in pictures for row in picture['gtboxes']} - {REGION_TO_IGNORE})
        labels = match_classes(self.metainfo['classes'], tags, self.ann_file) if tags else {}
        sizes = self._known_sizes()
        return [self._data_info(picture, labels, sizes) for picture in pictures]

    def _known_sizes(self) -> dict[str, Sequence[int]]:
        if self.extra_ann_file is None:
            return {}
        path = osp.join(self.data_root or '', self.extra_ann_file)
        content = read_json(path, self.backend_args)
        if not isinstance(content, dict):
            raise DataError(f'{path}: expected a JSON object of [height, width] by picture, got {shortened(content)}.')
        return {name: _height_and_width(size, f'{path}: picture {name!r}') for name, size in content.items()}

    def _data_info(self, picture: dict, labels: dict[str, int], sizes: dict[str, Sequence[int]]) -> dict:
        name = str(picture['ID'])
        img_path = osp.join(self.data_prefix.get('img', ''), f'{name}.jpg')
        height, width = sizes.get(name) or self._size_of_picture(name, img_path)
        return {
            'img_path': img_path,
            'img_id': picture['ID'],
            'seg_map_path': None,
            'height': height,
            'width': width,
            'instances': self._instances(picture, labels, (width, height)),
        }

    def _size_of_picture(self, name: str, img_path: str) -> tuple[int, int]:
        try:
            width, height = picture_size(img_path, self.backend_args)
        except ImageError as error:
            raise DataError(f'{self.ann_file}: the size of picture {name!r} is not known: {error}.') from error
        return height, width

    def _instances(self, picture: dict, labels: dict[str, int], size: tuple[int, int]) -> list[dict]:
        rows = [row for row in picture['gtboxes'] if self._has_box(row, picture)]
        boxes = np.array([row['fbox'] for row in rows], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        sizes = np.tile(np.array(size, dtype=np.float64), (len(rows), 1))
        names = [f'picture {picture["ID"]!r}'] * len(rows)
        boxes, keep = check_boxes(boxes, sizes, names, self.report, clip=False)
        return [
            {
                'ignore_flag': int(row['extra'] or row['tag'] not in labels),
                'bbox': box,
                'bbox_label': labels.get(row['tag'], 0),
            }
            for row, box, valid in zip(rows, boxes.tolist(), keep)
            if valid
        ]

    def _has_box(self, row: dict, picture: dict) -> bool:
        if row['fbox'] is None:
            self.report.skip('without a box', f'picture {picture["ID"]!r}, tag={row["tag"]!r}')
        return row['fbox'] is not None


def _height_and_width(value: object, source: str) -> list[int]:
    try:
        height, width = map(side, value)
    except (TypeError, ValueError, OverflowError):
        height = width = None
    if height is None or width is None:
        raise DataError(f'{source} has {shortened(value)}; expected [height, width] in pixels.')
    return [height, width]
