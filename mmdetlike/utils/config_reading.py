"""Reading a config file and its bases, with errors that point at the file and not at the reader's code."""

import ast
import contextlib
import importlib
import json
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config as MMEngineConfig
from mmengine.logging import print_log

from mmdetlike.errors import ConfigError
from mmdetlike.scopes import ALIASES, NOT_NEEDED, SCOPE
from mmdetlike.utils.config_files import read_shipped_bases, shipped_base, similar_shipped
from mmdetlike.utils.setup_env import bootstrap

BASE = '_base_'

# modules written for OpenMMLab's packages run on ours
STAND_IN_HINT = f"before it, custom_imports may name '{SCOPE}.compat.openmmlab', which stands in for mmcv and mmdet"


def read_config(path: Path) -> MMEngineConfig:
    """Read a config file with its bases and import what it names in ``custom_imports``.

    Raises:
        FileNotFoundError: A base doesn't exist.
        ConfigError: It can't be read; the message names the file and, where it is Python, the line.
    """
    read_shipped_bases()
    files = _checked_files(path, ())
    with _importable_from(path.parent):
        config = _read(path, files)
        import_custom_modules(config)
    return config


def _read(path: Path, files: set[Path]) -> MMEngineConfig:
    # mmengine takes any file that imports a package for one in its pure Python style, whose imports are never run
    pure_python = path.suffix == '.py' and _is_pure_python(path)
    try:
        return MMEngineConfig.fromfile(path, lazy_import=pure_python, import_custom_modules=False)
    except FileNotFoundError as error:
        raise _no_base(path, error) from error
    except SyntaxError as error:
        raise _not_python(path, error) from error
    except TypeError as error:
        raise ConfigError(f'{path}: {_about_kinds(error) or _about_copies(error) or _reason(error, files)}') from error
    except Exception as error:
        raise ConfigError(f'{path} could not be read: {_reason(error, files)}') from error


def _no_base(path: Path, error: FileNotFoundError) -> FileNotFoundError:
    named = re.search(r'file "(.+)" does not exist', str(error))
    similar = similar_shipped(Path(named[1])) if named else None
    hint = '' if similar is None else f"; shipped is a config of today's form, _base_ = '{SCOPE}::{similar}'"
    return FileNotFoundError(f'{path}: a base config is missing: {error}{hint}')


def _not_python(path: Path, error: SyntaxError) -> ConfigError:
    return ConfigError(f'{path} is not valid Python: {error.msg} (line {error.lineno})')


def _reason(error: Exception, files: set[Path]) -> str:
    """Class and message of an error, and the line of one of the config's files that it came from."""
    text = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if Path(frame.filename).resolve() in files]
    if not lines:
        return text
    return f'{text} ({lines[-1].filename}, line {lines[-1].lineno})'


def _about_kinds(error: TypeError) -> str | None:
    """The message for a dict in the child config where the base config has something else; None for other errors."""
    found = re.match(r"(\w+)=.* is a dict in the child config but is of type <class '([\w.]+)'>", str(error), re.DOTALL)
    if found is None:
        return None
    key = found[1]
    kind = found[2].rpartition('.')[2]
    if kind in ('list', 'tuple'):
        return (
            f'{key} is a dict, but a {kind} in the base config, which is replaced as a whole: write all entries. '
            f'One of them can be changed on the command line: --cfg-options ...{key}.0.KEY=VALUE'
        )
    return (
        f'{key} is a dict, but of type {kind} in the base config, so they cannot be merged: to replace it, write '
        f'{key}=dict(_delete_=True, ...)'
    )


def _about_copies(error: TypeError) -> str | None:
    """The message for a variable that can't be copied, such as an open file or a generator; None for other errors."""
    if 'cannot pickle' not in str(error):
        return None
    kind = str(error).partition('cannot pickle ')[2]
    return f'a variable of the config holds a {kind}; remove it at the end of the file, by del NAME'


# -- before mmengine reads it ------------------------------------------------------------------------------------------


def _parse(path: Path) -> ast.Module | None:
    """The syntax tree of a Python config; None where mmengine's own templates make it none."""
    try:
        text = path.read_text(encoding='utf-8-sig')
        return ast.parse(text)
    except ValueError as error:  # not UTF-8, or with null bytes
        raise ConfigError(f'{path} is not a config: it is no text in UTF-8 ({error})') from error
    except SyntaxError as error:
        if '{{' in text:
            return None
        raise _not_python(path, error) from error


def _is_pure_python(path: Path) -> bool:
    """Whether a config inherits by ``with read_base():`` or by relative imports, as mmengine's newer style does."""
    tree = _parse(path)
    if tree is None or any(_is_base(node) for node in tree.body):
        return False
    return any(isinstance(node, ast.With) and 'read_base' in ast.unparse(node.items[0]) for node in tree.body) or any(
        isinstance(node, ast.ImportFrom) and node.level > 0 for node in tree.body
    )


def _is_base(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == BASE


def base_files(path: Path) -> list[Path] | None:
    """The bases that a config names, or None where they are computed or belong to another package."""
    if path.suffix == '.json':
        named = json.loads(path.read_text(encoding='utf-8')).get(BASE, [])
    elif path.suffix == '.py':
        assigned = [node.value for node in getattr(_parse(path), 'body', []) if _is_base(node)]
        try:
            named = ast.literal_eval(assigned[0]) if assigned else []
        except ValueError:
            return None
    else:
        return None
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise ConfigError(f'{path}: {BASE} must be a path or a list of paths, got {named!r:.80}')
    bases = [shipped_base(name) if '::' in name else path.parent / name for name in named]
    return None if None in bases else bases


def _checked_files(path: Path, above: tuple[Path, ...]) -> set[Path]:
    """Check a config and its bases for what mmengine gets wrong in silence or by endless recursion; return their files.

    Raises:
        ConfigError: A config is its own base, or has a template within a longer text.
    """
    resolved = path.resolve()
    if resolved in above:
        circle = ' -> '.join(each.name for each in (*above[above.index(resolved) :], resolved))
        raise ConfigError(f'{path}: {BASE} leads back to the file itself: {circle}')
    if not path.is_file():
        return set()  # told where it is read
    try:
        bases = base_files(path) or []
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise _no_base(path, error) from error
    except ValueError as error:  # of JSON
        raise ConfigError(f'{path} could not be read: {type(error).__name__}: {error}') from error
    if path.suffix == '.py':
        _check_templates(path)
    return {resolved}.union(*(_checked_files(base, (*above, resolved)) for base in bases))


def _check_templates(path: Path) -> None:
    tree = _parse(path) or ast.Module([], [])
    docstrings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or node in docstrings:
            continue
        inside = re.search(r'\{\{\s*(_base_\.[\w.]+)\s*\}\}', node.value)
        if inside is not None:
            is_whole = inside[0] == node.value.strip()
            advice = f'{{{{{inside[1]}}}}}, without quotes' if is_whole else f"f'...{{{inside[1]}}}...'"
            raise ConfigError(
                f'{path}, line {node.lineno}: a base variable is not replaced within a text, as in {node.value!r:.60}; '
                f'write {advice}'
            )
    _refuse_computed_templates(path, tree)


# where mmengine, which runs the file with a text in place of each template, finds that text again
_REPLACED_IN = (ast.Assign, ast.keyword, ast.Dict, ast.List, ast.Tuple, ast.IfExp)


def _refuse_computed_templates(path: Path, tree: ast.Module) -> None:
    """Raise a ConfigError if a file computes with ``{{_base_.x}}``, of which a stand-in would be left."""
    for parent in ast.walk(tree):
        if isinstance(parent, _REPLACED_IN):
            continue
        for node in ast.iter_child_nodes(parent):
            name = _template(node)
            if name is not None:
                raise ConfigError(
                    f'{path}, line {node.lineno}: {{{{{name}}}}} can only be a whole value; to compute with it, write '
                    f'{name} without braces'
                )


def _template(node: ast.AST) -> str | None:
    """The name in ``{{_base_.x}}``, which Python takes for a set of a set; None for anything else."""
    for _ in range(2):
        if not isinstance(node, ast.Set) or len(node.elts) != 1:
            return None
        node = node.elts[0]
    name = ast.unparse(node)
    return name if isinstance(node, ast.Attribute) and name.startswith(f'{BASE}.') else None


# -- modules of the user's ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _importable_from(folder: Path) -> Iterator[None]:
    """Within this context modules in ``folder`` can be imported; after it only if one of them has been."""
    entry = str(folder.resolve())
    if entry in sys.path:
        yield
        return
    before = set(sys.modules)
    sys.path.append(entry)
    try:
        yield
    finally:
        new = [sys.modules[name] for name in set(sys.modules) - before if name in sys.modules]
        files = [getattr(module, '__file__', None) or '' for module in new]
        if not any(file.startswith(f'{entry}/') for file in files):
            sys.path.remove(entry)


def import_custom_modules(config: MMEngineConfig) -> None:
    """Import what ``custom_imports`` names.

    Raises:
        ConfigError: It isn't there, or raises while it is imported.
    """
    bootstrap()  # modules written for OpenMMLab import ``mmdet.registry``
    wanted = config.get('custom_imports')
    if wanted is None:
        return
    where = config.filename or 'the config'
    names = wanted.get('imports') if isinstance(wanted, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: custom_imports must be dict(imports=['module', ...]), got {wanted!r:.80}")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            package = next((package for package in NOT_NEEDED if f'{name}.'.startswith(f'{package}.')), None)
            if package and isinstance(error, ModuleNotFoundError) and f'{name}.'.startswith(f'{error.name}.'):
                print_log(f'{where}: custom_imports: {_not_needed(name, package)}', 'current')
                continue
            message = f'{where}: custom_imports: {_failed_import(name, error, config.filename)}'
            if not (isinstance(error, ImportError) and wanted.get('allow_failed_imports')):
                raise ConfigError(message) from error
            print_log(message, 'current')


def _not_needed(name: str, package: str) -> str:
    types = ', '.join(NOT_NEEDED[package])
    return f'{name} is not installed, and not needed for its {types}, which are part of {SCOPE}'


def _failed_import(name: str, error: Exception, filename: str | None) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition('.')[0]):
        beside = f'in {Path(filename).parent.resolve()} nor ' if filename else ''
        return f'there is no module {name}, neither {beside}installed nor in PYTHONPATH'
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith('<')]
    line = f' ({frames[-1].filename}, line {frames[-1].lineno})' if frames else ''
    package = (error.name or '').partition('.')[0] if isinstance(error, ModuleNotFoundError) else ''
    stand_in = '; ' + STAND_IN_HINT if package in ALIASES else ''
    return f'importing {name} failed: {type(error).__name__}: {error}{line}{stand_in}'
