"""Definitions of DSDL (Data Set Description Language): class domains, structs and the fields of a sample.

A struct names its fields with their types, ``objects: List[LocalObjectEntry[cdom=$cdom]]``; types take arguments, of
which those that begin with ``$`` are the parameters of the struct around them.
"""

import difflib
import os.path as osp
import re
from collections.abc import Iterator, Mapping, Sequence

from .annotations import read_yaml, shortened
from .dsdl_types import BASIC_TYPES, EACH, MOST_LEVELS, Domain, SampleField, Struct, Type, read_type
from .errors import DataError

_CLASS = re.compile(r'(.*?)\s*(?:\[(.*)\])?', re.DOTALL)  # dog[animal]


class Definitions:
    """The class domains and structs of a file and of all files that it imports.

    Args:
        libraries: Folders in which imported files are looked for, after the folder of the file that imports them.
        backend_args: Where files are read from, as for ``mmengine.fileio.get``.
    """

    def __init__(self, libraries: Sequence[str] = (), backend_args: dict | None = None) -> None:
        self.domains: dict[str, Domain] = {}
        self.structs: dict[str, Struct] = {}
        self.libraries = libraries
        self.backend_args = backend_args
        self._places: dict[str, str] = {}
        self._read: set[str] = set()

    def add_file(self, path: str, importers: tuple[str, ...] = ()) -> dict:
        """Add what a file and those that it imports define.

        Returns:
            The content of the file.

        Raises:
            FileNotFoundError: There is no such file.
            DataError: It isn't YAML, has a definition that can't be read or imports what isn't there, or itself.
        """
        content = read_yaml(path, self.backend_args)
        if not isinstance(content, dict):
            raise DataError(f'{path}: expected a DSDL file with keys as $dsdl-version, got {shortened(content)}.')
        self._read.add(path)
        imports = content.get('$import') or []
        if not isinstance(imports, list) or not all(isinstance(name, str) and name for name in imports):
            raise DataError(f'{path}: has $import={shortened(imports)}; expected a list of names of files.')
        for name in imports:
            self._import(name, (*importers, path))
        for name, body in content.items():
            if isinstance(body, dict) and '$def' in body:
                self._define(name, body, path)
        return content

    def _import(self, name: str, importers: tuple[str, ...]) -> None:
        file_name = name if name.endswith(('.yaml', '.yml')) else f'{name}.yaml'
        folders = (osp.dirname(importers[-1]), *self.libraries)
        candidates = [osp.normpath(osp.join(folder, file_name)) for folder in folders]
        found = [path for path in candidates if osp.isfile(path)]
        if not found:
            raise DataError(f'{importers[-1]}: imports {name!r}, but there is no file {" or ".join(candidates)}.')
        if found[0] in map(osp.normpath, importers):
            raise DataError(f'{importers[-1]}: imports {name!r}, which imports it: {" -> ".join(importers)}.')
        if found[0] not in self._read:
            self.add_file(found[0], importers)

    def _define(self, name: object, body: dict, path: str) -> None:
        place = f'{path}: {name}'
        if name in self._places:
            raise DataError(f'{place} is defined already, by {self._places[name]}.')
        self._places[name] = path
        if body['$def'] == 'struct':
            self.structs[name] = _struct(body, place)
        elif body['$def'] == 'class_domain':
            # a domain may name the one of its superclasses: VOCClassDom[VOCFatherDom]
            bare = str(name).partition('[')[0].strip()
            self.domains[bare] = _domain(bare, body, place)
        else:
            raise DataError(f"{place} has $def={shortened(body['$def'])}; expected 'struct' or 'class_domain'.")

    def fields(self, written: object, place: str) -> list[SampleField]:
        """All fields of basic types of a sample.

        Args:
            written: The type of the sample, ``'ObjectDetectionSample[cdom=VOCClassDom]'``.
            place: Where it is written, for messages.

        Raises:
            DataError: It, or a type in it, isn't defined.
        """
        return list(self._walk(read_type(written, place), {}, (), False, place))

    def _walk(
        self, kind: Type, bound: Mapping[str, str], path: tuple[str, ...], is_optional: bool, place: str
    ) -> Iterator[SampleField]:
        """The fields in a type, the arguments of which are those of ``bound`` where they are parameters."""
        if len(path) > MOST_LEVELS:
            raise DataError(f'{place}: types are nested more than {MOST_LEVELS} deep, as if one were part of itself.')
        given = {key: bound.get(argument.name, argument.name) for key, argument in kind.arguments.items()}
        if kind.name == 'List':
            if 'etype' not in kind.arguments:
                raise DataError(f'{place} is a List of nothing; expected the type of its items, as List[BBox].')
            yield from self._walk(kind.arguments['etype'], bound, (*path, EACH), is_optional, place)
        elif kind.name in BASIC_TYPES:
            yield SampleField(path, kind.name, self._domain_name(kind, given, place), is_optional)
        elif kind.name in self.structs:
            struct = self.structs[kind.name]
            unbound = [name for name in struct.parameters if name not in given]
            if unbound:
                raise DataError(f'{place} is of type {kind.name} without its parameters {unbound}.')
            inner = {f'${name}': given[name] for name in struct.parameters}
            for name, part in struct.fields.items():
                may_lack = is_optional or name in struct.optional
                yield from self._walk(part, inner, (*path, name), may_lack, f'{struct.place}, field {name}')
        else:
            raise DataError(f'{place} is of type {kind.name!r}, which is not defined{self._closest(kind.name)}.')

    def _domain_name(self, kind: Type, given: Mapping[str, str], place: str) -> str | None:
        if kind.name != 'Label':
            return None
        name = given.get('dom', given.get('etype'))
        if name not in self.domains:
            raise DataError(f'{place} is a Label of the domain {name!r}; the domains defined are {list(self.domains)}.')
        return name

    def _closest(self, name: str) -> str:
        close = difflib.get_close_matches(name, ['List', *BASIC_TYPES, *map(str, self.structs)], n=1)
        return f' (closest: {close[0]})' if close else ''


def _struct(body: dict, place: str) -> Struct:
    fields = body.get('$fields')
    if not isinstance(fields, dict) or not fields:
        raise DataError(f'{place} has $fields={shortened(fields)}; expected the type of each field.')
    types = {str(name): read_type(written, f'{place}, field {name}') for name, written in fields.items()}
    parameters = _names(body, '$params', place)
    return Struct(place, parameters, types, frozenset(_names(body, '$optional', place)))


def _domain(name: str, body: dict, place: str) -> Domain:
    classes = _names(body, 'classes', place)
    if not classes:
        raise DataError(f'{place} has classes={shortened(body.get("classes"))}; expected a list of names.')
    parts = [_CLASS.fullmatch(written.strip()).groups() for written in classes]
    names = tuple(bare for bare, _ in parts)
    if len(set(names)) < len(names):
        raise DataError(f'{place} lists {sorted(name for name in set(names) if names.count(name) > 1)} twice.')
    return Domain(name, names, tuple(_superclasses(above or '') for _, above in parts))


def _superclasses(written: str) -> tuple[str, ...]:
    """The names in ``animal, pet``, of which each may follow its domain: ``FatherDom.animal``."""
    names = (name.strip() for name in written.split(','))
    return tuple(name.rpartition('.')[2] for name in names if name)


def _names(body: dict, key: str, place: str) -> tuple[str, ...]:
    """A list of names, which may be absent; YAML reads those in digits as numbers."""
    value = body.get(key)
    names = [] if value is None else value
    if not isinstance(names, list) or not all(type(name) in (str, int) and str(name).strip() for name in names):
        raise DataError(f"{place} has {key}={shortened(value)}; expected a list of names; YAML needs quotes for 'yes'.")
    return tuple(map(str, names))
