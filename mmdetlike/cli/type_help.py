"""What a type takes: its arguments, defaults and meanings."""

import difflib
import inspect

from mmdetlike import registry as registry_module
from mmdetlike.errors import ConfigError
from mmdetlike.registry import Registry
from mmdetlike.utils.setup_env import register_all_modules


def describe(name: str) -> str:
    """The arguments of what configs call ``type=name``, in each registry that has it.

    Raises:
        ConfigError: None has it; the message names close ones.
    """
    register_all_modules()
    registries = [registry for registry in vars(registry_module).values() if isinstance(registry, Registry)]
    for registry in registries:
        registry.import_from_location()
    found = {registry.name: registry.get(name) for registry in registries if name in names_of(registry)}
    if not found:
        known = sorted({known for registry in registries for known in names_of(registry)})
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise ConfigError(f'no type is called {name!r}' + (f'; did you mean {", ".join(close)}?' if close else ''))
    return '\n\n'.join(f'{item_text(item)}\n\n({kind})' for kind, item in found.items())


def names_of(registry: Registry) -> set[str]:
    """The names of a registry and of mmengine's behind it."""
    return {*registry.module_dict, *registry.parent.module_dict}


def item_text(item) -> str:
    """Signature and documentation of a class or function."""
    parameters = inspect.signature(item).parameters.values()
    arguments = ''.join(f'    {parameter},\n' for parameter in parameters)
    return f'{item.__name__}(\n{arguments})\n\n{inspect.getdoc(item) or ""}'
