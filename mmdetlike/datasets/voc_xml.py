"""PASCAL VOC's annotation files, one XML for each image."""

import os.path as osp
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import cv2
import numpy as np
from mmengine import fileio

from .annotations import read_text
from .errors import DataError, ImageError


@dataclass
class VocObject:
    """An object: class name, xyxy box in pixels, whether it is marked difficult."""

    name: str
    box: list[float]
    difficult: bool


@dataclass
class VocImage:
    """What an XML file says of an image; width and height are None where it doesn't say."""

    filename: str
    width: int | None
    height: int | None
    objects: list[VocObject]


def read_voc_xml(path: str, backend_args: dict | None = None) -> VocImage:
    """Read an annotation file.

    VOC counts pixels from 1 and includes the last, so the box is [xmin - 1, ymin - 1, xmax, ymax]. One with
    xmax <= xmin or ymax <= ymin as written is kept as written, without area, for the reader to report.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't XML (the message names line and column), or an object lacks something.
    """
    try:
        root = ElementTree.fromstring(read_text(path, backend_args))
    except ElementTree.ParseError as error:
        raise DataError(f'{path}: not valid XML: {error}.') from error  # which says line and column
    objects = [_object(element, path, i) for i, element in enumerate(root.findall('object'))]
    width, height = (_size(root, side) for side in ('width', 'height'))
    return VocImage(root.findtext('filename', '').strip(), width, height, objects)


def _size(root: ElementTree.Element, side: str) -> int | None:
    text = root.findtext(f'size/{side}')
    return int(float(text)) or None if text else None


def _object(element: ElementTree.Element, path: str, number: int) -> VocObject:
    try:
        name = element.findtext('name').strip()
        corners = [float(element.findtext(f'bndbox/{corner}')) for corner in ('xmin', 'ymin', 'xmax', 'ymax')]
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: object {number} needs a name and a bndbox with the numbers xmin, ymin, xmax, ymax.'
        ) from error
    xmin, ymin, xmax, ymax = corners
    if xmax > xmin and ymax > ymin:
        corners = [xmin - 1, ymin - 1, xmax, ymax]
    return VocObject(name, corners, (element.findtext('difficult') or '0').strip() == '1')


def read_image_ids(path: str, backend_args: dict | None = None) -> list[str]:
    """The names in a split file, one a line; what follows a name on its line (as -1 or 1 do) is left out."""
    lines = read_text(path, backend_args).splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def image_file(annotation: VocImage, img_id: str) -> str:
    """File name of the image: the id with the suffix that the XML names, else ``.jpg``."""
    return img_id + (osp.splitext(annotation.filename)[1] or '.jpg')


def image_size(annotation: VocImage, img_path: str, backend_args: dict | None = None) -> tuple[int, int]:
    """Width and height in pixels: as the XML says or, where it doesn't, of the image itself.

    Raises:
        ImageError: The image has to be read and cannot be.
    """
    if annotation.width and annotation.height:
        return annotation.width, annotation.height
    try:
        data = np.frombuffer(fileio.get(img_path, backend_args=backend_args), np.uint8)
    except FileNotFoundError as error:
        raise ImageError(img_path, 'there is no such file, and its XML does not give its size') from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise ImageError(img_path, 'not an image, and its XML does not give its size')
    return image.shape[1], image.shape[0]
