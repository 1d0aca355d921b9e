"""PASCAL VOC's annotation files, one XML for each image."""

import os.path as osp
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from .annotations import read_bytes, read_lines
from .errors import DataError, ImageError
from .picture_size import picture_size
from .records import side, truth

_DECLARATION = re.compile(rb'\s*<\?xml[^>]*?encoding=["\']([A-Za-z0-9._-]+)')


@dataclass
class VocObject:
    """An object: class name, xyxy box in pixels, whether it is marked difficult."""

    name: str
    box: list[float]
    difficult: bool


@dataclass
class VocImage:
    """The content of an XML file about an image; width and height are None where it lacks them."""

    filename: str
    width: int | None
    height: int | None
    objects: list[VocObject]
    folder: str = ''


def read_voc_xml(path: str, backend_args: dict | None = None) -> VocImage:
    """Read an annotation file.

    VOC counts pixels from 1 and includes the last, so the box is [xmin - 1, ymin - 1, xmax, ymax]. One with
    xmax <= xmin or ymax <= ymin as written is kept as written, without area, for the reader to report.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't XML (the message names line and column), or an object lacks something.
    """
    root = _parsed(read_bytes(path, backend_args), path)
    objects = [_object(element, path, i) for i, element in enumerate(root.findall('object'))]
    width, height = (_size(root, key, path) for key in ('width', 'height'))
    filename, folder = (root.findtext(key, '').strip() for key in ('filename', 'folder'))
    return VocImage(filename, width, height, objects, folder)


def _parsed(content: bytes, path: str) -> ElementTree.Element:
    """The root of an XML file in the encoding that its first line declares, UTF-8 if none."""
    declared = _DECLARATION.match(content)
    encoding = declared[1].decode('ascii') if declared else ''
    try:
        # The parser knows UTF and single bytes; what else is declared (GBK, Shift JIS ...) is decoded here.
        if declared and not encoding.lower().startswith('utf'):
            return ElementTree.fromstring(content.decode(encoding))
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(f'{path}: not valid XML: {error}.') from error  # which says line and column
    except LookupError:
        raise DataError(f'{path}: its encoding {encoding!r} is unknown.') from None
    except ValueError as error:
        raise DataError(f'{path}: not text in {encoding or "UTF-8"}, which it declares: {error}.') from error


def _size(root: ElementTree.Element, key: str, path: str) -> int | None:
    text = (root.findtext(f'size/{key}') or '').strip()
    try:
        return side(text or None)
    except (ValueError, OverflowError):
        raise DataError(f'{path}: {key}={text!r}; expected a whole number of pixels, or 0 if unknown.') from None


def _object(element: ElementTree.Element, path: str, number: int) -> VocObject:
    try:
        name = element.findtext('name').strip()
        corners = [float(element.findtext(f'bndbox/{corner}')) for corner in ('xmin', 'ymin', 'xmax', 'ymax')]
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: object {number} needs a name and a bndbox with the numbers xmin, ymin, xmax, ymax.'
        ) from error
    difficult = element.findtext('difficult')
    try:
        is_difficult = truth(difficult or None)
    except ValueError:
        raise DataError(f'{path}: object {number} has difficult={difficult!r}; expected 0 or 1.') from None
    xmin, ymin, xmax, ymax = corners
    # One without area must stay so: counted from 1, a box of xmin = xmax would become one pixel wide.
    if xmax > xmin and ymax > ymin:
        corners = [xmin - 1, ymin - 1, xmax, ymax]
    return VocObject(name, corners, is_difficult)


def read_image_ids(path: str, backend_args: dict | None = None) -> list[str]:
    """The names in a split file, one a line; what follows a name on its line (as -1 or 1 do) is left out."""
    return [line.split()[0] for line in read_lines(path, backend_args)]


def image_file(annotation: VocImage, img_id: str) -> str:
    """File name of the image: the id with the suffix that the XML names, else ``.jpg``."""
    return img_id + (osp.splitext(annotation.filename)[1] or '.jpg')


def annotated_size(annotation: VocImage, img_path: str, backend_args: dict | None = None) -> tuple[int, int]:
    """Width and height of an image in pixels, from the XML or, where it lacks them, from the image itself.

    Raises:
        ImageError: The image has to be read and cannot be.
    """
    if annotation.width and annotation.height:
        return annotation.width, annotation.height
    try:
        return picture_size(img_path, backend_args)
    except ImageError as error:
        raise ImageError(img_path, f'{error.reason}, and its XML does not give its size') from error
