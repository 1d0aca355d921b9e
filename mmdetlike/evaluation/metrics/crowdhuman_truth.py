"""The ground truth of CrowdHuman's files: a JSON object a line and image."""

import json

import numpy as np

from ...datasets.annotations import read_lines, shortened
from ...datasets.errors import DataError
from ...datasets.records import Field, Table, box, identifier, records, same_id, text, truth

_PERSON = 'person'
_IMAGES = Table(
    'an image',
    (
        Field('ID', identifier, 'the name of an image', required=True),
        Field('gtboxes', records, 'a list of boxes', required=True),
    ),
    lambda row: f'image {row.get("ID")!r}',
)


def _ignored(attributes: object) -> bool:
    if attributes is None:
        return False
    if not isinstance(attributes, dict):
        raise ValueError
    return truth(attributes.get('ignore'))


def _boxes(key: str, attributes: str) -> Table:
    return Table(
        'a box',
        (
            Field('tag', text, "text, as 'person'", required=True),
            Field(key, box, 'four numbers [x, y, width, height]', required=True),
            Field(attributes, _ignored, "an object, whose 'ignore' is 0 or 1"),
        ),
        lambda row: f'a box tagged {row.get("tag")!r}',
    )


# the box of each part of a person, and where it is marked as one to ignore
PARTS = {'body': ('fbox', 'extra'), 'head': ('hbox', 'head_attr')}


def read_truth(path: str, part: str, backend_args: dict | None = None) -> dict[str, dict[str, np.ndarray]]:
    """``bboxes`` (m, 4) xyxy and ``ignore`` (m,) of each image, by ``same_id`` of its name.

    Args:
        path: A file in CrowdHuman's format (``.odgt``).
        part: 'body' or 'head'.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line isn't what it should be; the message names it.
    """
    images: dict[str, dict] = {}
    for number, line in enumerate(read_lines(path, backend_args), 1):
        place = f'{path}, line {number}'
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f'{place}: expected a JSON object, got {shortened(line)}: {error}.') from error
        image = _IMAGES.read(row, place)
        if same_id(image['ID']) in images:
            raise DataError(f'{place}: image {image["ID"]!r} is listed twice; expected one line for each.')
        images[same_id(image['ID'])] = _arrays(image, part, place)
    return images


def _arrays(image: dict, part: str, place: str) -> dict[str, np.ndarray]:
    key, attributes = PARTS[part]
    table = _boxes(key, attributes)
    rows = [table.read(row, f'{place}, image {image["ID"]!r}') for row in image['gtboxes']]
    rows = [row for row in rows if row[key] is not None]
    boxes = np.array([row[key] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    # what looks like a person but isn't one, as a poster, has another tag
    ignore = [row[attributes] or row['tag'] != _PERSON for row in rows]
    return {'bboxes': boxes, 'ignore': np.array(ignore, dtype=bool)}
