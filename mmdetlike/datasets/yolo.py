"""Pictures with a text file each, as YOLO's trainers read them."""

import os.path as osp

from ..errors import ConfigError
from ..registry import DATASETS
from .annotations import read_lines, read_text, read_yaml, shortened
from .errors import DataError, warn
from .named_objects import (
    PICTURE_SUFFIXES,
    AnnotatedPicture,
    NamedObject,
    NamedObjectsDataset,
    bounding_box,
    files_in,
)

_BOX = 5  # numbers of a line: class, center x, center y, width, height
_LEAST_POLYGON = 7  # class and three points
_LARGEST_SHARE = 2.0  # a box may reach over the border a little; more than this is in pixels


@DATASETS.register_module()
class YOLODataset(NamedObjectsDataset):
    """Pictures with boxes or polygons from a text file for each.

    A line is an object: the number of its class from 0 on, then center x, center y, width and height of its box, or the
    points of a polygon, all as shares of the picture's sides. The text file of ``images/train/a.jpg`` is
    ``labels/train/a.txt``; a picture without one shows no objects.

    Args:
        ann_file: A list of pictures, a path a line; '' for all pictures in ``data_prefix['img']``.
        data_prefix: ``dict(img='images/train', ann='labels/train')``. Without ``ann``, the last folder ``images`` of a
            picture's path becomes ``labels``; if there is none, text files are looked for beside the pictures.
        names_file: The ``data.yaml`` that has the class names, relative to ``data_root``; ``metainfo['classes']`` does
            as well, in the order of their numbers.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        ConfigError: There are no class names.
        DataError: A line isn't an object, or there is no text file for any picture.
    """

    ACCEPTED_PREFIXES = ('img', 'ann')

    def __init__(
        self,
        ann_file: str = '',
        names_file: str | None = None,
        data_root: str | None = '',
        metainfo: dict | None = None,
        backend_args: dict | None = None,
        **kwargs,
    ) -> None:
        metainfo = dict(metainfo or {})
        if names_file is not None:
            path = osp.join(osp.expanduser(data_root or ''), names_file)
            self.names = read_names(path, backend_args)
            metainfo.setdefault('classes', self.names)
        elif not metainfo.get('classes'):
            raise ConfigError("YOLODataset needs names_file='data.yaml', or metainfo=dict(classes=(...)).")
        else:
            self.names = None
        super().__init__(ann_file=ann_file, data_root=data_root, metainfo=metainfo, backend_args=backend_args, **kwargs)

    @property
    def source(self) -> str:
        """What messages call this dataset."""
        return self.ann_file or self.data_prefix.get('img') or type(self).__name__

    def read_pictures(self) -> list[AnnotatedPicture]:
        """All pictures, with all of their objects."""
        names = self.names or self.metainfo['classes']
        paths = self._picture_paths()
        texts = [self._text_path(path) for path in paths]
        present = [osp.isfile(text) for text in texts]
        if not any(present):
            raise DataError(f'{self.source}: none of its {len(paths)} pictures has a text file, as {texts[0]}.')
        pictures = []
        for path, text, has_text in zip(paths, texts, present):
            picture = AnnotatedPicture(path, self._name(path), text if has_text else self.source)
            picture.size = self.size_of(path, picture.source)
            picture.objects = self._objects(text, picture.size, names) if has_text else []
            pictures.append(picture)
        self._tell_of_texts_alone(set(texts))
        return pictures

    def _picture_paths(self) -> list[str]:
        folder = self.data_prefix.get('img', '')
        if self.ann_file:
            lines = read_lines(self.ann_file, self.backend_args)
            return [self._listed_path(line) for line in lines]
        return [osp.join(folder, name) for name in files_in(folder, PICTURE_SUFFIXES, 'pictures')]

    def _listed_path(self, line: str) -> str:
        """The picture of a line of ``ann_file``, relative to ``data_prefix['img']`` or to ``data_root``."""
        of_folder, of_root = (osp.join(root or '', line) for root in (self.data_prefix.get('img'), self.data_root))
        return osp.normpath(of_root if osp.isfile(of_root) and not osp.isfile(of_folder) else of_folder)

    def _name(self, path: str) -> str:
        root = self.data_prefix.get('img') or self.data_root
        return osp.relpath(path, root) if root else path

    def _text_path(self, path: str) -> str:
        stem = osp.splitext(path)[0]
        if 'ann' in self.data_prefix:
            folder = self.data_prefix.get('img', '')
            return osp.join(self.data_prefix['ann'], osp.relpath(stem, folder or '.') + '.txt')
        parts = stem.split(osp.sep)
        if 'images' in parts[:-1]:
            last = len(parts) - 1 - parts[::-1].index('images')
            parts[last] = 'labels'
        return osp.sep.join(parts) + '.txt'

    def _objects(self, path: str, size: tuple[int, int], names: tuple[str, ...]) -> list[NamedObject]:
        lines = read_text(path, self.backend_args).splitlines()
        objects = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                objects.append(read_object(line, size, names, f'{path}, line {number}'))
        return objects

    def _tell_of_texts_alone(self, texts: set[str]) -> None:
        """Say which text files belong to no picture: a sign of a wrong folder, or of pictures that are missing."""
        folders = {osp.dirname(text) for text in texts}
        ours = {osp.normpath(text) for text in texts}
        alone = [
            osp.join(folder, name)
            for folder in sorted(folders)
            if osp.isdir(folder)
            for name in files_in_or_none(folder)
            if osp.normpath(osp.join(folder, name)) not in ours
        ]
        if alone and not self.ann_file:  # a list may choose some of the pictures
            warn(f'{self.source}: {len(alone)} text files have no picture and are left out, e.g. {alone[:3]}.')


def files_in_or_none(folder: str) -> list[str]:
    """Names of the text files in a folder that may be annotations."""
    try:
        found = files_in(folder, ('.txt',), 'text files')
    except DataError:
        return []
    return [name for name in found if osp.basename(name) not in ('classes.txt', 'README.txt', 'readme.txt')]


def read_object(line: str, size: tuple[int, int], names: tuple[str, ...], place: str) -> NamedObject:
    """The object of a line.

    Args:
        line: Class number and shares of the picture's sides: of a box or of a polygon.
        size: Width and height of the picture in pixels.
        names: Class names in the order of their numbers.
        place: File and line, for messages.

    Raises:
        DataError: It isn't one.
    """
    try:
        numbers = [float(part) for part in line.split()]
    except ValueError:
        raise DataError(f'{place}: expected numbers, got {shortened(line)}.') from None
    is_polygon = len(numbers) >= _LEAST_POLYGON and len(numbers) % 2 == 1
    if len(numbers) != _BOX and not is_polygon:
        raise DataError(
            f'{place}: expected 5 numbers (class, center x, center y, width, height) or a class and at least 3 points, '
            f'got {len(numbers)}: {shortened(line)}.'
        )
    label, *shares = numbers
    if not label.is_integer() or not 0 <= label < len(names):
        raise DataError(f'{place}: expected a class from 0 to {len(names) - 1}, got {line.split()[0]}.')
    if not all(abs(share) <= _LARGEST_SHARE for share in shares):  # NaN isn't, either
        raise DataError(f'{place}: expected shares of the sides of the picture, from 0 to 1, got {shortened(line)}.')
    scaled = [share * size[number % 2] for number, share in enumerate(shares)]
    if is_polygon:
        return NamedObject(names[int(label)], bounding_box(scaled), [scaled])
    x, y, width, height = scaled
    return NamedObject(names[int(label)], [x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def read_names(path: str, backend_args: dict | None = None) -> tuple[str, ...]:
    """The class names of a ``data.yaml``, a list or a dict of number and name, in the order of their numbers.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't YAML, or has no such names.
    """
    content = read_yaml(path, backend_args, 'names_file')
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            last = len(names) - 1
            raise DataError(f'{path}: expected names numbered from 0 to {last}, got {shortened(list(names))}.')
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f'{path}: expected names, a list of class names, got {shortened(names)}.')
    return tuple(map(str, names))
