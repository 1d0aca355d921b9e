"""Modules that stand in for those of ``mmcv`` and ``mmdet`` where these are not installed."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

import mmdetlike.registry

from .replaced import REPLACED
from .table import MODULES, VERSIONS, Offer


class StandIn(ModuleType):
    """A module whose names are ours; each is looked up when it is asked for."""

    def __init__(self, name: str, offer: Offer) -> None:
        super().__init__(name, f'Stands in for {name}, with what mmdetlike has of it.')
        self.__offer = offer
        package, _, leaf = name.partition('.')
        if leaf in ('', 'version'):
            self.__version__ = VERSIONS[package]
            self.version_info = tuple(map(int, VERSIONS[package].split('.')))

    def __getattr__(self, name: str):
        # Python asks modules for many such names that none of them need have
        if name.startswith('_') and name not in self.__offer.renamed:
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        submodule = f'{self.__name__}.{name}'
        if name not in self.__offer.renamed and submodule in MODULES:
            return importlib.import_module(submodule)
        found = _look_up(self.__offer, name)
        if found is None:
            instead = REPLACED.get(name)
            told = (
                f'; mmdetlike offers of it {", ".join(dir(self)) or "nothing"}' if instead is None else f': {instead}'
            )
            raise ImportError(f'{self.__name__} has no {name!r} here{told}', name=self.__name__)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        inner = {name[len(self.__name__) + 1 :] for name in MODULES if name.startswith(f'{self.__name__}.')}
        return sorted({*_names(self.__offer), *(name for name in inner if '.' not in name)})


def _look_up(offer: Offer, name: str):
    """What an offer has under a name; None if it has nothing."""
    if name in offer.renamed:
        module, _, path = offer.renamed[name].partition(':')
        found = importlib.import_module(module)
        for part in path.split('.'):
            found = getattr(found, part)
        return found
    for source in offer.sources:
        module = importlib.import_module(source)
        if name in _public(module):
            return getattr(module, name)
    for registry in map(_registry, offer.registries):
        if name in registry.module_dict:
            return registry.module_dict[name]
    return None


def _names(offer: Offer) -> Iterator[str]:
    yield from offer.renamed
    for source in offer.sources:
        yield from _public(importlib.import_module(source))
    for registry in map(_registry, offer.registries):
        yield from (name for name in registry.module_dict if name.isidentifier())


def _public(module: ModuleType) -> Sequence[str]:
    """The names that a module is meant to give; of one that lists none, all that begin with a letter."""
    listed = getattr(module, '__all__', None)
    if listed is not None:
        return listed
    given = vars(module).items()
    return [name for name, value in given if not name.startswith('_') and not isinstance(value, ModuleType)]


def _registry(name: str):
    registry = getattr(mmdetlike.registry, name)
    registry.import_from_location()
    return registry


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of ``MODULES``, and of what is below them those that are called like one of their names.

    ``mmdet.models.detectors.faster_rcnn`` has the names of ``mmdet.models.detectors``, since that has ``FasterRCNN``.
    """

    def find_spec(self, fullname: str, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """A spec where the module is offered and its package isn't a real one.

        Raises:
            ModuleNotFoundError: The package isn't a real one, and has no such module here.
        """
        package = fullname.partition('.')[0]
        if package not in VERSIONS or self._is_real(package, fullname):
            return None
        # mmengine looks whether there is ``mmcv._ext``, which is not to be imported
        if fullname.rpartition('.')[2].startswith('_'):
            return None
        if _offer_of(fullname) is None:
            beside = fullname.rpartition('.')[0]
            offered = [name for name in MODULES if name.startswith(f'{beside}.')] or list(MODULES)
            raise ModuleNotFoundError(
                f'No module named {fullname!r}; mmdetlike offers in its place {", ".join(offered)}', name=fullname
            )
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    @staticmethod
    def _is_real(package: str, fullname: str) -> bool:
        # a package that is installed is found by those who are asked before, and what it lacks is missing
        return fullname != package and not isinstance(sys.modules.get(package), StandIn)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> StandIn:
        """An empty module of the offered names."""
        return StandIn(spec.name, _offer_of(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs: names are looked up one by one."""


def _offer_of(fullname: str) -> Offer | None:
    if fullname in MODULES:
        return MODULES[fullname]
    parent, _, leaf = fullname.rpartition('.')
    offer = MODULES.get(parent)
    if offer is None:
        return None
    # a file is called like the class or the function that it defines
    defined = {name.replace('_', '').lower() for name in _names(offer)}
    return offer if leaf.replace('_', '').lower() in defined else None


FINDER = StandInFinder()


def install() -> None:
    """Ask for stand-ins after all others have been asked, so that installed packages come first."""
    if FINDER not in sys.meta_path:
        sys.meta_path.append(FINDER)


def stand_ins() -> list[str]:
    """Names of the modules that stand in for others now."""
    return sorted(name for name, module in sys.modules.items() if isinstance(module, StandIn))
