"""Datasets read as pictures with named objects, which is what most annotation tools write."""

import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from ..structures.mask import read_segmentation
from .annotations import check_boxes, match_classes, tell_of_mask
from .base import BaseDetDataset
from .errors import DataError, ImageError, SkipReport
from .picture_size import picture_size

PICTURE_SUFFIXES = (
    *('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.jp2', '.avif', '.gif', '.npy'),
)


@dataclass
class NamedObject:
    """An object.

    Attributes:
        name: Of its class.
        box: xyxy in pixels.
        mask: Polygons, if it has a mask.
        ignored: Whether it is to be ignored.
        extra: What else its instance should have.
    """

    name: str
    box: Sequence[float]
    mask: list[list[float]] | None = None
    ignored: bool = False
    extra: dict = field(default_factory=dict)


@dataclass
class AnnotatedPicture:
    """A picture and its objects.

    Attributes:
        path: Of the picture, as it is opened.
        name: What predictions and messages call it, one of each.
        source: The file that annotates it, for messages.
        size: Width and height in pixels; None if only the picture knows.
        objects: What it shows.
        extra: What else its data info should have.
    """

    path: str
    name: str
    source: str
    size: tuple[int, int] | None = None
    objects: list[NamedObject] = field(default_factory=list)
    extra: dict = field(default_factory=dict)


class NamedObjectsDataset(BaseDetDataset):
    """Pictures with named objects; a subclass supplies ``read_pictures``.

    Label i is ``metainfo['classes'][i]``; objects of other names are left out and counted. Boxes that are NaN, without
    area or outside their picture are skipped, those partly outside are clipped: one warning counts them. The arguments
    are those of ``BaseDetDataset``.

    Raises:
        ConfigError: No classes are given; the message lists the names that are there.
        DataError: Nothing can be read, none of the classes is there, or a picture cannot be asked for its size.
    """

    def read_pictures(self) -> list[AnnotatedPicture]:
        """All pictures, with all of their objects.

        Raises:
            DataError: Something is wrong in a file, which the message names.
        """
        raise NotImplementedError

    def class_names(self, pictures: list[AnnotatedPicture]) -> list[str]:
        """The classes there are, of which ``metainfo['classes']`` names some: by default, those of the objects."""
        return found_names(pictures)

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures."""
        self.report = SkipReport(self.source)
        pictures = self.read_pictures()
        self._check_names(pictures)
        names = self.class_names(pictures)
        classes = self.metainfo.get('classes')
        if not classes:
            raise ConfigError(f'{type(self).__name__} needs metainfo=dict(classes=(...)); {self.source} has {names}.')
        self.cat2label = match_classes(classes, names, self.source) if names else {}
        return [self._data_info(picture) for picture in pictures]

    def _check_names(self, pictures: list[AnnotatedPicture]) -> None:
        by_name: dict[str, AnnotatedPicture] = {}
        for picture in pictures:
            other = by_name.setdefault(picture.name, picture)
            if other is not picture:
                raise DataError(
                    f'{picture.source}: picture {picture.name!r} is annotated twice, first by {other.source}.'
                )

    def _data_info(self, picture: AnnotatedPicture) -> dict:
        width, height = picture.size or self.size_of(picture.path, picture.source)
        return {
            'img_path': picture.path,
            'img_id': picture.name,
            'seg_map_path': None,
            'height': height,
            'width': width,
            'instances': self._instances(picture, (width, height)),
            **picture.extra,
        }

    def size_of(self, path: str, source: str) -> tuple[int, int]:
        """Width and height of a picture that ``source`` annotates without saying its size.

        Raises:
            DataError: There is no such picture, or it isn't one.
        """
        try:
            return picture_size(path, self.backend_args)
        except ImageError as error:
            raise DataError(f'{source}: the size of its picture is not known: {error}.') from error

    def _instances(self, picture: AnnotatedPicture, size: tuple[int, int]) -> list[dict]:
        objects = [item for item in picture.objects if item.name in self.cat2label]
        self.report.leave_out('objects of other classes', len(picture.objects) - len(objects))
        boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 4)
        sizes = np.tile(np.array(size, dtype=np.float64), (len(objects), 1))
        boxes, keep = check_boxes(boxes, sizes, [f'picture {picture.name!r}'] * len(objects), self.report)
        instances = []
        for item, box, valid in zip(objects, boxes.tolist(), keep):
            if valid:
                ignored = int(item.ignored or self.too_small(box))
                instance = {'ignore_flag': ignored, 'bbox': box, 'bbox_label': self.cat2label[item.name], **item.extra}
                mask = self._mask(item, picture, size)
                instances.append(instance | ({'mask': mask} if mask else {}))
        return instances

    def _mask(self, item: NamedObject, picture: AnnotatedPicture, size: tuple[int, int]) -> list | None:
        """The polygons of an object; None if it has none, or none that can be used, which the report counts."""
        width, height = size
        mask, problem = read_segmentation(item.mask or None, height, width)
        if problem:
            tell_of_mask(problem, mask is None, item.mask, f'picture {picture.name!r}', self.report)
        return mask


def found_names(pictures: list[AnnotatedPicture]) -> list[str]:
    """The class names of all objects, sorted."""
    return sorted({item.name for picture in pictures for item in picture.objects})


def files_in(folder: str, suffixes: Sequence[str], what: str) -> list[str]:
    """Paths relative to ``folder`` of the files with one of ``suffixes``, in it and in folders in it, sorted.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: There is no such file in it.
    """
    if not osp.isdir(folder):
        raise FileNotFoundError(f'The folder of {what} {folder!r} does not exist (data_root and data_prefix joined).')
    found = [
        osp.relpath(osp.join(parent, name), folder)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(tuple(suffixes)) and not name.startswith('.')
    ]
    if not found:
        raise DataError(f'{folder}: there are no {what} in it, no files that end with {", ".join(suffixes)}.')
    return sorted(found)


def bounding_box(points: Sequence[float]) -> list[float]:
    """The box xyxy around points x, y, x, y, ..."""
    return [min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])]
