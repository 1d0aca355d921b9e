"""Names of another toolbox beside ours: a table in YAML becomes a page, and every name of ours is imported."""

from importlib import import_module
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ANOTHER_WAY = '='


def read(toolbox: str) -> dict[str, list[tuple[str, str | None, str]]]:
    """Section -> rows of (their names, ours or None, remark)."""
    table = yaml.safe_load((HERE / f'names_{toolbox}.yaml').read_text())
    return {section: [(*row, '')[:3] for row in rows] for section, rows in table.items()}


def our_names(ours: str | None) -> list[str]:
    """The import paths in a cell; none where it is empty or names another way than Python."""
    if ours is None or ours.startswith(ANOTHER_WAY):
        return []
    return [name.strip() for name in ours.split(',')]


def resolve(path: str) -> object:
    """What an import path names.

    Raises:
        LookupError: There is no such thing.
    """
    parts = path.split('.')
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = import_module('.'.join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                raise LookupError(f'there is no {path}: {found!r} has no {attribute}')
            found = getattr(found, attribute)
        return found
    raise LookupError(f'there is no {path}')


def linked(path: str) -> str:
    """An import path as Markdown, with a link to our file that defines it."""
    name = resolve(path)
    module = getattr(getattr(name, 'fget', name), '__module__', None)
    if not isinstance(module, str) or not module.startswith('mmdetlike'):
        return f'`{path}`'
    file = ROOT / module.replace('.', '/')
    target = file / '__init__.py' if file.is_dir() else file.with_suffix('.py')
    return f'[`{path}`](../{target.relative_to(ROOT)})'


def rows(section: list[tuple[str, str | None, str]]) -> list[list[str]]:
    """Cells of a section's table in Markdown."""
    cells = []
    for theirs, ours, remark in section:
        if ours is None:
            shown = '–'
        elif ours.startswith(ANOTHER_WAY):
            shown = ours[1:].strip()
        else:
            shown = ', '.join(map(linked, our_names(ours)))
        names = ', '.join(f'`{name.strip()}`' for name in theirs.split(','))
        cells.append([names, shown, remark])
    return cells


def counts(toolbox: str) -> tuple[int, int]:
    """How many of their names are covered, and how many are not."""
    every = [row for section in read(toolbox).values() for row in section]
    covered = sum(len(theirs.split(',')) for theirs, ours, _ in every if ours is not None)
    return covered, sum(len(theirs.split(',')) for theirs, _, _ in every) - covered
