"""Which fields of a DSDL sample have what is read, found by their types or named in a config."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError
from .coco import check_extra_keys
from .dsdl_types import EACH, SampleField
from .errors import DataError

# the names by which configs call what is read, and the types of its fields
KINDS = {
    'Image': ('Image', 'ImageMedia'),
    'ImageShape': ('ImageShape',),
    'Bbox': ('BBox',),
    'Polygon': ('Polygon',),
    'Label': ('Label',),
}
_OF_PICTURE = {'img_path', 'img_id', 'seg_map_path', 'height', 'width', 'instances', 'image_level_labels'}


def checked_keys(given: Mapping | None, argument: str, kind: type | Callable) -> dict:
    """A mapping by name, in which the names of ``KINDS`` are written as there.

    Raises:
        ConfigError: It isn't such a mapping, or a name is one that an instance or a data info has by itself.
    """
    if not isinstance(given or {}, Mapping) or not all(isinstance(value, kind) for value in (given or {}).values()):
        what = 'paths' if kind is str else 'functions'
        raise ConfigError(f'{argument}={given!r} should be a dict of {what} by name, as of {list(KINDS)}.')
    spelling = {name.lower(): name for name in KINDS}
    keys = {spelling.get(str(name).lower(), name): value for name, value in (given or {}).items()}
    check_extra_keys([key for key in keys if key != 'ignore_flag'])
    taken = sorted(_OF_PICTURE & keys.keys())
    if taken:
        raise ConfigError(f'{argument} has {taken}, which a picture has by itself; expected other names.')
    return keys


@dataclass
class Layout:
    """The fields of a sample that are read.

    Attributes:
        picture: The path of the picture.
        shape: Its height and width.
        objects: The path of an object, with which those of ``box``, ``polygon`` and ``label`` begin.
        box: The box of an object.
        polygon: Its polygons.
        label: Its class.
        tags: The classes of a picture as a whole.
        extra_of_objects: Other fields of an object by name.
        extra_of_picture: Other fields of a picture by name.
        may_lack_objects: Whether the list of objects, or one in it, may be absent.
    """

    picture: SampleField
    shape: SampleField | None = None
    objects: tuple[str, ...] = ()
    box: SampleField | None = None
    polygon: SampleField | None = None
    label: SampleField | None = None
    tags: Sequence[SampleField] = ()
    extra_of_objects: dict[str, SampleField] = field(default_factory=dict)
    extra_of_picture: dict[str, SampleField] = field(default_factory=dict)
    may_lack_objects: bool = False

    def is_in_object(self, path: Sequence[str]) -> bool:
        """Whether a path is of one value in an object."""
        above = len(self.objects)
        has_objects = self.box is not None or self.polygon is not None
        return has_objects and tuple(path[:above]) == self.objects and EACH not in path[above:]


class LayoutFinder:
    """Finds the layout of samples.

    Args:
        fields: All fields of a sample.
        paths: Those that the config names, by what they are.
        source: The file, for messages.

    Raises:
        ConfigError: A path isn't one of the sample.
    """

    def __init__(self, fields: Sequence[SampleField], paths: Mapping[str, str], source: str) -> None:
        self.fields = fields
        self.source = source
        self.named = {name: self._at(path, name) for name, path in paths.items()}

    def layout(self, with_bbox: bool, with_polygon: bool, with_tags: bool) -> Layout:
        """The layout of samples that have boxes, polygons and classes of pictures, as is wanted.

        Raises:
            ConfigError: There are several fields to choose from.
            DataError: There is no field of a type that is wanted.
        """
        layout = Layout(self._one('Image', _is_outside_lists))
        if 'ImageShape' in self.named or self._candidates('ImageShape', _is_outside_lists):
            layout.shape = self._one('ImageShape', _is_outside_lists)
        if with_bbox or with_polygon:
            self._add_objects(layout, with_bbox, with_polygon)
        if with_tags:
            layout.tags = self._candidates('Label', lambda path: not layout.is_in_object(path))
            if not layout.tags:
                raise DataError(self._none_of('Label', ' of pictures as a whole'))
        for name in self.named.keys() - KINDS.keys():
            found = self.named[name]
            extra = layout.extra_of_objects if layout.is_in_object(found.path) else layout.extra_of_picture
            extra[name] = found
        if 'ignore_flag' in layout.extra_of_picture:
            path = layout.extra_of_picture['ignore_flag']
            raise ConfigError(f'specific_key_path has ignore_flag={str(path)!r}; expected a field of an object.')
        return layout

    def _add_objects(self, layout: Layout, with_bbox: bool, with_polygon: bool) -> None:
        main = self._one('Bbox' if with_bbox else 'Polygon')
        # an object is an item of the innermost list around its box; without a list, the sample is the object
        ends = [number for number, key in enumerate(main.path, 1) if key == EACH and number < len(main.path)]
        layout.objects = main.path[: ends[-1]] if ends else ()
        layout.may_lack_objects = main.is_optional
        layout.box = main if with_bbox else None
        layout.polygon = None if with_bbox else main
        if with_bbox and with_polygon:
            layout.polygon = self._one('Polygon', layout.is_in_object)
        layout.label = self._one('Label', layout.is_in_object)

    def _candidates(self, kind: str, fits: Callable[[tuple[str, ...]], bool]) -> list[SampleField]:
        return [found for found in self.fields if found.kind in KINDS[kind] and fits(found.path)]

    def _one(self, kind: str, fits: Callable[[tuple[str, ...]], bool] = lambda path: True) -> SampleField:
        """The field that the config names for a kind, or else the only one of its type."""
        if kind in self.named:
            found = self.named[kind]
            if found.kind not in KINDS[kind] or not fits(found.path):
                raise ConfigError(f'specific_key_path has {kind}={str(found)!r}, a {found.kind} that cannot be one.')
            return found
        found = self._candidates(kind, fits)
        if len(found) > 1:
            paths = ', '.join(map(str, found))
            raise ConfigError(
                f'{self.source}: samples have several fields of type {found[0].kind}, {paths}: say which one is read, '
                f"as by specific_key_path=dict({kind}='{found[0]}')."
            )
        if not found:
            raise DataError(self._none_of(kind, '' if kind.startswith('Image') else ' of an object'))
        return found[0]

    def _none_of(self, kind: str, where: str) -> str:
        kinds = ', '.join(f'{found} ({found.kind})' for found in self.fields)
        return f'{self.source}: samples have no field of type {KINDS[kind][0]}{where}; they have {kinds}.'

    def _at(self, path: str, name: str) -> SampleField:
        keys = tuple(path.removeprefix('./').split('/'))
        for found in self.fields:
            if found.path == keys:
                return found
        known = ', '.join(map(str, self.fields))
        raise ConfigError(f'{self.source}: specific_key_path has {name}={path!r}; samples have the fields {known}.')


def _is_outside_lists(path: tuple[str, ...]) -> bool:
    return EACH not in path
