"""The files of Open Images, read and checked: class names, hierarchy, boxes, labels of whole images, sizes."""

import io
import os.path as osp
import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .annotations import read_bytes, read_json, read_lines, shortened
from .errors import DataError
from .proposals import unpickle_arrays
from .records import Field, Table, identifier, real_number, side, text, truth
from .text_tables import count_line, decimal, numbered_lines, read_csv

_SHARE = 'a number from 0 to 1, a share of the side of the image'
_ENTITY = ('/m/', '/g/', '/t/')  # beginnings of the identifiers by which Open Images calls classes


@dataclass(slots=True)  # there are millions of them
class OpenImagesBox:
    """An object.

    Attributes:
        label: What the file calls its class.
        corners: x1, y1, x2, y2 as shares of the sides of the image, or in pixels if one is above 1.
        is_group_of: Whether it is a group of at least five objects that touch one another.
    """

    label: str
    corners: tuple[float, float, float, float]
    is_group_of: bool


def _row_name(row: dict) -> str:
    return f'the box of image {row.get("ImageID")!r}'


CSV_BOXES = Table(
    'a box',
    (
        Field('ImageID', identifier, 'the name of an image without .jpg', required=True),
        Field('LabelName', text, "the name of a class, as '/m/01g317'", required=True),
        *(Field(key, real_number, _SHARE, required=True) for key in ('XMin', 'XMax', 'YMin', 'YMax')),
        Field('IsGroupOf', lambda value: truth(0 if value == '-1' else value), '0, 1, or -1 if unknown'),
    ),
    _row_name,
)
CSV_IMAGE_LABELS = Table(
    'a label',
    (
        Field('ImageID', identifier, 'the name of an image without .jpg', required=True),
        Field('LabelName', text, "the name of a class, as '/m/01g317'", required=True),
    ),
    lambda row: f'the label of image {row.get("ImageID")!r}',
)


def read_class_names(path: str, backend_args: dict | None = None) -> dict[str, str]:
    """The names of the classes by what the files call them, in the order of their labels.

    A line is ``/m/011k07,Tortoise``; with a number in a third column, as the challenge has it, the order is the
    numbers'. The columns are told by what is in them, as releases differ in their order.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line has no such identifier or no name, or two have one identifier.
    """
    found: dict[str, tuple[int, str]] = {}
    for line, content in numbered_lines(path, backend_args):
        cells = [cell.strip().strip('"') for cell in content.split(',')]
        entities = [cell for cell in cells if cell.startswith(_ENTITY)]
        numbers = [decimal(cell) for cell in cells if decimal(cell) is not None]
        names = [cell for cell in cells if cell and cell not in entities and decimal(cell) is None]
        if line == 1 and not entities:
            continue  # names of columns
        if len(entities) != 1 or not names:
            raise DataError(f'{path}, line {line}: expected a class as /m/011k07,Tortoise, got {shortened(content)}.')
        if entities[0] in found:
            raise DataError(f'{path}, line {line}: {entities[0]!r} is there already; expected one line for each class.')
        found[entities[0]] = (numbers[0] if numbers else line, ', '.join(names))
    if not found:
        raise DataError(f'{path}: expected a class a line, as /m/011k07,Tortoise, there is none.')
    return {entity: name for entity, (_, name) in sorted(found.items(), key=lambda item: item[1][0])}


def read_ancestors(path: str, entities: list[str], backend_args: dict | None = None) -> np.ndarray:
    """The class hierarchy as a matrix, from a tree or such a matrix.

    Args:
        path: JSON with nested ``{"LabelName": ..., "Subcategory": [...]}``, or a square array as numpy saves it.
        entities: What the files call the classes, in the order of their labels.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.

    Returns:
        (n, n) uint8, 1 in row i and column j if class j includes class i.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is neither, or the matrix isn't of n classes.
    """
    if path.endswith('.json'):
        return _ancestors_of_tree(read_json(path, backend_args), path, entities)
    return _ancestors_of_matrix(path, len(entities), backend_args)


def _ancestors_of_tree(root: object, path: str, entities: list[str]) -> np.ndarray:
    labels = {entity: label for label, entity in enumerate(entities)}
    matrix = np.zeros((len(entities), len(entities)), dtype=np.uint8)
    to_visit: list[tuple[object, tuple[int, ...]]] = [(root, ())]
    while to_visit:
        node, above = to_visit.pop()
        if not isinstance(node, dict) or not isinstance(node.get('Subcategory', []), list):
            raise DataError(f'{path}: expected {{"LabelName": ..., "Subcategory": [...]}}, got {shortened(node)}.')
        label = labels.get(str(node.get('LabelName')))  # None for the root, which is no class
        if label is not None:
            matrix[label, list(above)] = 1
            matrix[label, label] = 0  # should a class be below itself in the tree, it still isn't its own ancestor
            above = (*above, label)
        to_visit += [(child, above) for child in node.get('Subcategory', [])]
    return matrix


def _ancestors_of_matrix(path: str, count: int, backend_args: dict | None) -> np.ndarray:
    try:
        content = read_bytes(path, backend_args, 'hierarchy_file')
        matrix = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f'{path}: expected a tree in JSON or an array that numpy saved: {error}.') from error
    if matrix.shape != (count, count) or matrix.dtype.kind not in 'biuf':
        raise DataError(
            f'{path}: expected {count} x {count} numbers, one for each pair of classes, got {matrix.dtype} of shape '
            f'{matrix.shape}.'
        )
    return (matrix != 0).astype(np.uint8)


def read_csv_boxes(path: str, backend_args: dict | None = None) -> Iterator[tuple[str, str, OpenImagesBox]]:
    """Place, name of the image and box of each line of a CSV file, as of Open Images V4 to V7.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It lacks a column, or a line has something of another kind.
    """
    for place, row in read_csv(path, CSV_BOXES, backend_args):
        corners = (row['XMin'], row['YMin'], row['XMax'], row['YMax'])
        yield place, str(row['ImageID']), OpenImagesBox(row['LabelName'], corners, row['IsGroupOf'])


def read_challenge_boxes(path: str, backend_args: dict | None = None) -> list[tuple[str, list[OpenImagesBox]]]:
    """File name and boxes of each image of a text file of the challenge of 2019.

    An image is its file name, a line that isn't used, the number of its boxes, and a line for each: the number of the
    class (from 1 on), x1, y1, x2, y2, and 1 for a group.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line isn't what its place asks for, or the file ends too early.
    """
    lines = read_lines(path, backend_args)
    images = []
    at = 0
    while at < len(lines):
        name = lines[at]
        expected = f'{path}: image {shortened(name)}: expected the number of its boxes two lines below its name'
        count = count_line(lines[at + 2 : at + 3], expected)
        rows = lines[at + 3 : at + 3 + count]
        if len(rows) < count:
            raise DataError(f'{path}: image {name!r} should have {count} boxes, but the file ends after {len(rows)}.')
        images.append((name, [_challenge_box(row, f'{path}: image {name!r}') for row in rows]))
        at += 3 + count
    return images


def _challenge_box(row: str, place: str) -> OpenImagesBox:
    try:
        label, x1, y1, x2, y2, is_group_of = row.split()[:6]
        return OpenImagesBox(label, (float(x1), float(y1), float(x2), float(y2)), truth(is_group_of))
    except ValueError:
        raise DataError(f'{place} has the box {row!r}; expected "class x1 y1 x2 y2 0", 1 for a group.') from None


def read_image_labels(path: str, backend_args: dict | None = None) -> dict[str, list[str]]:
    """The classes, by their identifiers, that each image was searched for, found or not, by the image's name.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It lacks a column, or a line has something of another kind.
    """
    labels: dict[str, list[str]] = {}
    for _, row in read_csv(path, CSV_IMAGE_LABELS, backend_args):
        labels.setdefault(str(row['ImageID']), []).append(row['LabelName'])
    return labels


def read_sizes(path: str, backend_args: dict | None = None) -> dict[str, tuple[int, int]]:
    """Height and width in pixels of each image by its name: of a pickled list of ``dict(filename, ori_shape)``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't such a pickle, or holds more than arrays and plain data.
    """
    content = read_bytes(path, backend_args, 'meta_file')
    try:
        rows = unpickle_arrays(content)
        return {_stem(row['filename']): _shape(row['ori_shape']) for row in rows}
    except (pickle.UnpicklingError, ValueError, EOFError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise DataError(f'{path}: expected a pickled list of dict(filename=..., ori_shape=(h, w)): {error}') from error


def _stem(name: str) -> str:
    return osp.splitext(osp.basename(name))[0]


def _shape(value: object) -> tuple[int, int]:
    height, width = (side(part) for part in tuple(value)[:2])
    if height is None or width is None:
        raise ValueError(f'ori_shape={value!r}')
    return height, width
