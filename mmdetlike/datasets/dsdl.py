"""Data sets in DSDL (Data Set Description Language), the form in which OpenDataLab publishes many of them."""

import os.path as osp
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import ConfigError
from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .annotations import read_json, read_yaml, shortened
from .dsdl_definitions import Definitions
from .dsdl_layout import LayoutFinder, checked_keys
from .dsdl_types import EACH, SampleField, values_at
from .errors import DataError
from .named_objects import AnnotatedPicture, NamedObject, NamedObjectsDataset, bounding_box
from .records import box, side, text, truth


def _polygons(value: object) -> list[list[float]]:
    """Polygons as flat lists x, y, x, y, ..."""
    return [np.asarray(polygon, dtype=np.float64).ravel().tolist() for polygon in value]


def _height_and_width(value: object) -> tuple[int, int]:
    height, width = map(side, value)
    if height is None or width is None:
        raise ValueError
    return height, width


# how a value is read, and what it should be
READERS: dict[str, tuple[Callable, str]] = {
    'Image': (text, 'the path of a picture'),
    'ImageShape': (_height_and_width, '[height, width] in pixels'),
    'Bbox': (box, 'four numbers [x, y, width, height]'),
    'Polygon': (_polygons, 'a list of polygons, each of points [x, y]'),
}


@DATASETS.register_module()
class DSDLDetDataset(NamedObjectsDataset):
    """Pictures with boxes and polygons from a data set in DSDL.

    The YAML file imports the definitions of its classes and samples; by the types of their fields it is known where a
    sample has its picture (``Image``), the boxes of its objects (``BBox``: x, y, width, height), their classes
    (``Label``) and polygons (``Polygon``). Classes are those of the domain of the labels, in its order, unless
    ``metainfo`` names some of them. The package ``dsdl`` isn't needed.

    Args:
        ann_file: The YAML file, ``'dsdl/set-train/train.yaml'``, relative to ``data_root``.
        with_bbox: Read boxes.
        with_polygon: Read polygons as masks; without ``with_bbox``, the boxes around them.
        with_imagelevel_label: Read the classes of pictures as a whole into ``image_level_labels``, labels (n,).
        with_hierarchy: Put the superclasses of classes into ``metainfo['RELATION_MATRIX']``, as ``OpenImagesDataset``
            does.
        specific_key_path: Where a sample has something, by the name of what it is:
            ``dict(Bbox='./objects/*/full_box', ignore_flag='./objects/*/is_difficult')``; ``*`` stands for each item of
            a list. Names are ``Image``, ``ImageShape``, ``Bbox``, ``Polygon``, ``Label``, ``ignore_flag``, or any other
            one, under which the value is in the instance, or in the data info if it isn't of an object.
        pre_transform: Functions by the same names, each from a value in the file to the one that is read instead.
        library_path: Folder of definitions that the YAML file imports and that are not beside it.
        data_prefix: ``dict(img_path='original')``, the folder which paths of pictures are relative to.
        filter_cfg: ``dict(filter_empty_gt=True, min_size=32, bbox_min_size=8)``, as of ``XMLDataset``.
        metainfo: ``dict(classes=(...))`` to read some of the classes.

    The other arguments are those of ``BaseDetDataset``.

    Raises:
        ConfigError: ``specific_key_path`` or ``pre_transform`` names what there isn't, or has to choose.
        DataError: A definition or a sample can't be read; the message names file and record.
    """

    ACCEPTED_FILTERS = ('filter_empty_gt', 'min_size', 'bbox_min_size')
    PREFIX_ALIASES = {'img_path': 'img'}

    def __init__(
        self,
        *args,
        with_bbox: bool = True,
        with_polygon: bool = False,
        with_imagelevel_label: bool = False,
        with_hierarchy: bool = False,
        specific_key_path: Mapping[str, str] | None = None,
        pre_transform: Mapping[str, Callable] | None = None,
        library_path: str | None = None,
        **kwargs,
    ) -> None:
        self.with_bbox = with_bbox
        self.with_polygon = with_polygon
        self.with_imagelevel_label = with_imagelevel_label
        self.with_hierarchy = with_hierarchy
        self.specific_key_path = checked_keys(specific_key_path, 'specific_key_path', str)
        self.pre_transform = checked_keys(pre_transform, 'pre_transform', Callable)
        self.library_path = library_path
        super().__init__(*args, **kwargs)

    def class_names(self, pictures: list[AnnotatedPicture]) -> list[str]:
        """All classes of the domain, whether there are objects of them or not."""
        return list(self.domain.classes)

    def load_data_list(self) -> list[dict]:
        """Data infos of all samples."""
        infos = super().load_data_list()
        for info in infos:
            if 'image_level_labels' in info:
                names = info['image_level_labels'] & self.cat2label.keys()
                info['image_level_labels'] = np.array(sorted(self.cat2label[name] for name in names), dtype=np.int64)
        return infos

    def read_pictures(self) -> list[AnnotatedPicture]:
        """The pictures of all samples, with all of their objects."""
        self.definitions = Definitions(self._libraries(), self.backend_args)
        content = self.definitions.add_file(self.ann_file)
        data = content.get('data')
        if not isinstance(data, dict):
            raise DataError(f'{self.ann_file}: has data={shortened(data)}; expected sample-type and sample-path in it.')
        fields = self.definitions.fields(data.get('sample-type'), f'{self.ann_file}: sample-type')
        finder = LayoutFinder(fields, self.specific_key_path, self.ann_file)
        self.layout = finder.layout(self.with_bbox, self.with_polygon, self.with_imagelevel_label)
        self._take_classes()
        source, samples = self._samples(data)
        return [self._picture(sample, source, f'{source}: sample {number}') for number, sample in enumerate(samples)]

    def _libraries(self) -> list[str]:
        folders = (osp.dirname(self.ann_file), self.library_path, self.data_root)
        return [osp.expanduser(folder) for folder in folders if folder]

    def _take_classes(self) -> None:
        labels = [field for field in (self.layout.label, *self.layout.tags) if field is not None]
        if not labels:
            raise ConfigError(f'{self.ann_file}: nothing to read: set with_bbox, with_polygon or with_imagelevel_label')
        self.domain = self.definitions.domains[labels[0].domain]
        classes = self._metainfo.get('classes') or self.domain.classes
        if not self._metainfo.get('classes'):
            self._metainfo.update(classes=classes, palette=distinct_colors(len(classes)))
        if self.with_hierarchy:
            chosen = [self.domain.classes.index(name) for name in classes if name in self.domain.classes]
            if len(chosen) == len(classes):
                self._metainfo['RELATION_MATRIX'] = self.domain.ancestors()[np.ix_(chosen, chosen)]

    def _samples(self, data: dict) -> tuple[str, Sequence]:
        """The file that has the samples, and these."""
        name = data.get('sample-path')
        if name == '$local':
            path, content = self.ann_file, data
        elif isinstance(name, str) and name:
            path = osp.join(osp.dirname(self.ann_file), name)
            read = read_yaml if path.endswith(('.yaml', '.yml')) else read_json
            try:
                content = read(path, self.backend_args)
            except FileNotFoundError as error:
                raise DataError(f'{self.ann_file}: has sample-path={name!r}, but there is no file {path}.') from error
        else:
            raise DataError(f"{self.ann_file}: has sample-path={shortened(name)}; expected a path, or '$local'.")
        samples = content.get('samples') if isinstance(content, dict) else None
        if not isinstance(samples, list):
            raise DataError(f'{path}: expected samples, a list of them, got {shortened(content)}.')
        return path, samples

    def _picture(self, sample: object, source: str, place: str) -> AnnotatedPicture:
        layout = self.layout
        name = self._read('Image', sample, layout.picture, (), place)
        if name is None:
            raise DataError(f'{place} has no picture.')
        picture = AnnotatedPicture(osp.join(self.data_prefix.get('img', ''), name), name, source)
        shape = self._read('ImageShape', sample, layout.shape, (), place) if layout.shape else None
        picture.size = shape and shape[::-1]
        if layout.label is not None:
            picture.objects = self._objects(sample, place)
        for key, field in layout.extra_of_picture.items():
            found = [value for _, value in values_at(sample, field.path, place)]
            picture.extra[key] = found if EACH in field.path else self._transformed(key, found[0])
        if self.with_imagelevel_label:
            names = (self._classes(sample, field, field.path, place) for field in layout.tags)
            picture.extra['image_level_labels'] = set().union(*names)
        return picture

    def _objects(self, sample: object, place: str) -> list[NamedObject]:
        objects = []
        for where, item in values_at(sample, self.layout.objects, place):
            if item is not None:
                objects.append(self._object(item, where))
            elif not self.layout.may_lack_objects:
                raise DataError(f'{where} is absent, though its definition requires it.')
        return [item for item in objects if item is not None]

    def _object(self, item: object, place: str) -> NamedObject | None:
        """An object; None if it has no box or no class, which the report counts."""
        layout = self.layout
        polygons = self._read('Polygon', item, layout.polygon, layout.objects, place) if layout.polygon else None
        if layout.box is not None:
            xywh = self._read('Bbox', item, layout.box, layout.objects, place)
            corners = xywh and [xywh[0], xywh[1], xywh[0] + xywh[2], xywh[1] + xywh[3]]
        else:
            points = [coordinate for polygon in polygons or () for coordinate in polygon]
            corners = bounding_box(points) if len(points) > 1 else None
        names = self._classes(item, layout.label, layout.label.path[len(layout.objects) :], place)
        if not corners or not names:
            self.report.skip('without a box' if names else 'without a class', place)
            return None
        found = NamedObject(names.pop(), corners, polygons)
        self._add_extra(found, item, place)
        return found

    def _add_extra(self, found: NamedObject, item: object, place: str) -> None:
        for key, field in self.layout.extra_of_objects.items():
            ((where, value),) = values_at(item, field.path[len(self.layout.objects) :], place)
            value = self._transformed(key, value)
            if key != 'ignore_flag':
                found.extra[key] = value
                continue
            try:
                found.ignored = truth(value)
            except ValueError:
                raise DataError(f'{where} is {shortened(value)}; expected true or false, or 0 or 1.') from None

    def _read(self, kind: str, node: object, field: SampleField, above: Sequence[str], place: str) -> object:
        """The value of a field in ``node``, at which the path ``above`` ends; None if it may be absent and is."""
        ((where, value),) = values_at(node, field.path[len(above) :], place)
        value = self._transformed(kind, value)
        if value is None and field.is_optional:
            return None
        read, expected = READERS[kind]
        try:
            if value is None:
                raise ValueError
            return read(value)
        except (ValueError, TypeError, OverflowError):
            raise DataError(f'{where} is {shortened(value)}; expected {expected}.') from None

    def _classes(self, node: object, field: SampleField, path: Sequence[str], place: str) -> set[str]:
        """The classes of a field of labels; none if it may be absent and is."""
        domain = self.definitions.domains[field.domain]
        names = set()
        for where, value in values_at(node, path, place):
            value = self._transformed('Label', value)
            if value is None and field.is_optional:
                continue
            try:
                names.add(domain.class_of(value))
            except ValueError:
                count = len(domain.classes)
                raise DataError(
                    f'{where} is {shortened(value)}; expected one of the {count} classes of {domain.name}, '
                    f'{shortened(list(domain.classes))}, or its number from 1 to {count}.'
                ) from None
        return names

    def _transformed(self, kind: str, value: object) -> object:
        return self.pre_transform[kind](value) if kind in self.pre_transform else value
