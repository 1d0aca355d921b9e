"""Types of DSDL (Data Set Description Language): how they are written, and what is made of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .annotations import shortened
from .errors import DataError

BASIC_TYPES = (
    *('BBox', 'Bool', 'Coord', 'Coord3D', 'Date', 'Dict', 'Image', 'ImageMedia', 'ImageShape', 'InstanceID'),
    *('InstanceMap', 'Int', 'Interval', 'Keypoint', 'Label', 'LabelMap', 'Num', 'PointCloud', 'Polygon'),
    *('RotatedBBox', 'Str', 'Text', 'Time', 'UniqueID', 'Video'),
)
EACH = '*'  # in a path: every item of a list
MOST_LEVELS = 20  # of types in types

_TOKEN = re.compile(r'\s*([\w$.-]+|"[^"]*"|\'[^\']*\'|[\[\],=])')


@dataclass(frozen=True)
class Type:
    """A type as it is written: ``Label[dom=$cdom]`` has the name ``Label`` and the argument ``dom``.

    The first argument that has no name is called ``etype``, as that of a ``List`` is.
    """

    name: str
    arguments: Mapping[str, 'Type'] = field(default_factory=dict)


@dataclass(frozen=True)
class Domain:
    """Classes in the order of their numbers, which begin with 1, and the superclasses that each of them names."""

    name: str
    classes: tuple[str, ...]
    parents: tuple[tuple[str, ...], ...]

    def class_of(self, value: object) -> str:
        """The class that a sample gives by its number from 1 on or by name, which may follow that of a superclass.

        Raises:
            ValueError: It gives none of them.
        """
        if type(value) is int and 1 <= value <= len(self.classes):
            return self.classes[value - 1]
        if isinstance(value, str):
            last = value.replace('::', '.').rpartition('.')[2]
            for name in (value, last):
                if name in self.classes:
                    return name
        raise ValueError

    def ancestors(self) -> np.ndarray:
        """(n, n) uint8, 1 in row i and column j if class j includes class i, by way of others too."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        matrix = np.zeros((len(numbers), len(numbers)), dtype=bool)
        for number, parents in enumerate(self.parents):
            matrix[number, [numbers[parent] for parent in parents if parent in numbers]] = True
        for middle in range(len(numbers)):  # what a class between them includes and is included by (Warshall)
            matrix |= np.outer(matrix[:, middle], matrix[middle])
        np.fill_diagonal(matrix, False)
        return matrix.astype(np.uint8)


@dataclass(frozen=True)
class Struct:
    """A record: its parameters, the type of each field, and the fields that may be absent."""

    place: str
    parameters: tuple[str, ...]
    fields: Mapping[str, Type]
    optional: frozenset[str]


@dataclass(frozen=True)
class SampleField:
    """A field of a basic type, wherever it is in a sample.

    Attributes:
        path: Keys that lead to it; ``EACH`` stands for every item of a list.
        kind: Its type, one of ``BASIC_TYPES``.
        domain: Name of the class domain of a ``Label``.
        is_optional: Whether it, or something around it, may be absent.
    """

    path: tuple[str, ...]
    kind: str
    domain: str | None
    is_optional: bool

    def __str__(self) -> str:
        return './' + '/'.join(self.path)


def values_at(node: object, path: Sequence[str], place: str) -> Iterator[tuple[str, object]]:
    """The values at a path in a sample, each with its place; None where something is absent.

    Raises:
        DataError: Something on the way is no list, or no object.
    """
    if node is None or not path:
        yield place, node
    elif path[0] == EACH:
        if not isinstance(node, list):
            raise DataError(f'{place} is {shortened(node)}; expected a list.')
        for number, item in enumerate(node):
            yield from values_at(item, path[1:], f'{place}[{number}]')
    else:
        if not isinstance(node, dict):
            raise DataError(f'{place} is {shortened(node)}; expected an object that has {path[0]!r}.')
        yield from values_at(node.get(path[0]), path[1:], f'{place}.{path[0]}')


def read_type(written: object, place: str) -> Type:
    """The type that a text writes.

    Raises:
        DataError: It is no such text.
    """
    tokens = _TOKEN.findall(written) if isinstance(written, str) else []
    try:
        if not tokens or ''.join(tokens) != re.sub(r'\s', '', written):
            raise ValueError
        kind, rest = _parse(tokens, 0)
        if rest != len(tokens):
            raise ValueError
    except (ValueError, IndexError):
        raise DataError(f'{place} is of type {shortened(written)}; expected one as List[Entry[cdom=$cdom]].') from None
    return kind


def _parse(tokens: Sequence[str], at: int, level: int = 0) -> tuple[Type, int]:
    """The type that begins at a token, and where the next token after it is."""
    name = tokens[at].strip('"\'')
    at += 1
    if tokens[at - 1] in ('[', ']', ',', '=') or level > MOST_LEVELS:
        raise ValueError
    arguments: dict[str, Type] = {}
    if tokens[at : at + 1] == ['[']:
        while tokens[at] != ']':
            at += 1
            has_name = tokens[at + 1] == '='
            key = tokens[at] if has_name else 'etype'
            arguments[key], at = _parse(tokens, at + 2 * has_name, level + 1)
            if tokens[at] not in (',', ']'):
                raise ValueError
        at += 1
    return Type(name, arguments), at
