"""Facts for the documentation, read from the code: methods, who overrides them, source, type names."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from mmengine.registry import Registry

import mmdetlike.registry
from mmdetlike.utils import register_all_modules

ROOT = Path(__file__).parents[2]
PACKAGES = ('mmdetlike.', 'mmdetlike_ops.')
REGISTERED_FROM = (*PACKAGES, 'torch.')

register_all_modules()


def all_definitions() -> Iterator[type | Callable]:
    """Classes and functions of all modules of ours."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith(PACKAGES):
            for value in vars(module).values():
                if getattr(value, '__module__', None) == module_name and callable(value):
                    yield value


# by name; where two modules have the same name the first one
DEFINITIONS = {value.__name__: value for value in reversed(list(all_definitions())) if hasattr(value, '__name__')}


def resolve(name: str) -> object:
    """The function, class or ``Class.method`` of a name.

    Raises:
        LookupError: There is none.
    """
    owner, _, method = name.partition('.')
    if owner not in DEFINITIONS:
        raise LookupError(f'{name}: no class or function {owner} in mmdetlike or mmdetlike_ops')
    if not method:
        return DEFINITIONS[owner]
    if not hasattr(DEFINITIONS[owner], method):
        raise LookupError(f'{name}: {owner} has no {method}')
    return inspect.getattr_static(DEFINITIONS[owner], method)


def overriders(name: str) -> list[str]:
    """The classes, mixins too, whose ``Class.method`` its subclasses have instead of its own, by name."""
    resolve(name)
    owner, _, method = name.partition('.')
    base = DEFINITIONS[owner]
    subclasses = [c for c in all_definitions() if inspect.isclass(c) and issubclass(c, base)]
    definers = (next(c for c in inspect.getmro(sub) if method in vars(c)) for sub in subclasses)
    return sorted({c.__name__ for c in definers if not issubclass(base, c)})


def is_abstract(name: str) -> bool:
    """Whether a method does nothing but raise NotImplementedError."""
    value = resolve(name)
    value = getattr(value, '__func__', value)
    return inspect.isfunction(value) and inspect.getsource(value).rstrip().endswith('raise NotImplementedError')


def kind_of(name: str) -> str:
    """``own``, ``may`` or ``fixed``, as ``canvas.MEANING`` has them."""
    resolve(name)
    if '.' not in name:
        return 'fixed'
    if is_abstract(name):
        return 'own'
    return 'may' if overriders(name) else 'fixed'


def summary(name: str) -> str:
    """The first sentence of a docstring, on one line."""
    value = resolve(name)
    value = value.func if isinstance(value, cached_property) else value
    doc = inspect.getdoc(value)
    if not doc:
        raise LookupError(f'{name} has no docstring')
    return ' '.join(doc.split('\n\n')[0].split())


def source(path: str, symbol: str) -> str:
    """The source of ``Class``, ``Class.method`` or a function in a file; ``:head`` is what comes before definitions.

    Of a class it is what comes before its first method.
    """
    if not (ROOT / path).is_file():
        raise LookupError(f'there is no file {path}')
    text = (ROOT / path).read_text()
    lines = text.splitlines()
    body = ast.parse(text).body
    first = next(node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef)))
    if symbol == ':head':
        return '\n'.join(lines[: _start(first) - 1]).rstrip()
    owner, _, method = symbol.partition('.')
    node = _find(body, owner, path)
    if method:
        node = _find(node.body, method, path)
    end = node.end_lineno
    if isinstance(node, ast.ClassDef):
        methods = [child for child in node.body if isinstance(child, ast.FunctionDef)]
        end = _start(methods[0]) - 1 if methods else end
    return '\n'.join(lines[_start(node) - 1 : end]).rstrip()


def _start(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _find(body: list[ast.stmt], name: str, path: str) -> ast.stmt:
    for node in body:
        if getattr(node, 'name', None) == name:
            return node
    raise LookupError(f'{path} has no {name}')


def registered() -> dict[str, dict[str, str]]:
    """Registry -> registered name -> module, of what this repository registers."""
    registries = {name: value for name, value in vars(mmdetlike.registry).items() if isinstance(value, Registry)}
    found = {}
    for name, registry in registries.items():
        modules = {key: value.__module__ for key, value in registry.module_dict.items()}
        found[name] = {key: module for key, module in modules.items() if module.startswith(REGISTERED_FROM)}
    return found
