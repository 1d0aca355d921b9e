"""Text files with a record a line: JSON lines and CSV, with errors that name file and line."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence

from .annotations import read_text, shortened
from .errors import DataError
from .records import Table

_MOST_DIGITS = 9


def numbered_lines(path: str, backend_args: dict | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file that aren't blank, each with its number, from 1 on."""
    for number, line in enumerate(read_text(path, backend_args).splitlines(), 1):
        if line.strip():
            yield number, line


def decimal(text: str) -> int | None:
    """The number that ``text`` writes in digits; None if it is anything else, or larger than any count."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def count_line(lines: Sequence[str], expected: str) -> int:
    """The number that a line says which is nothing else.

    Args:
        lines: That line, or nothing where a file ends before it.
        expected: What it should be, as the beginning of a sentence.

    Raises:
        DataError: It isn't a number.
    """
    number = decimal(lines[0]) if lines else None
    if number is None:
        raise DataError(f'{expected}, got {shortened(list(lines))}.')
    return number


def read_json_lines(path: str, table: Table, backend_args: dict | None = None) -> Iterator[tuple[str, dict]]:
    """The records of a file with a JSON object a line, each with its location for messages, 'FILE, line 3'.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line isn't JSON, or not a record of ``table``.
    """
    for number, line in numbered_lines(path, backend_args):
        place = f'{path}, line {number}'
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f'{place}: expected {table.singular} as a JSON object, got {shortened(line)}.') from error
        yield place, table.read(row, place)


def read_csv(
    path: str,
    table: Table,
    backend_args: dict | None = None,
    columns: Sequence[str] | None = None,
    rename: Callable[[str], str] = str,
) -> Iterator[tuple[str, dict]]:
    """The records of a CSV file, each with its location for messages, 'FILE, line 3'.

    Args:
        path: The file.
        table: What a line is; an empty cell is one that is absent.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.
        columns: Names of the columns; None if the first line has them.
        rename: Gives our name of a column that the first line names.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: There is no column that ``table`` requires, or a line isn't a record of ``table``.
    """
    # not split into lines here: a cell in quotes may hold line breaks
    content = read_text(path, backend_args)
    reader = csv.reader(io.StringIO(content, newline=''), delimiter=_delimiter(content))
    chosen = None if columns is None else _places(columns, table)
    try:
        for cells in reader:
            if not cells or not any(map(str.strip, cells)):
                continue
            if chosen is None:
                names = [rename(cell.strip()) for cell in cells]
                _check_columns(names, table, path)
                chosen = _places(names, table)
                continue
            row = {key: cells[place].strip() for key, place in chosen if place < len(cells)}
            place = f'{path}, line {reader.line_num}'
            yield place, table.read({key: cell for key, cell in row.items() if cell}, place)
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num}: not CSV: {error}.') from error


def _places(names: Sequence[str], table: Table) -> list[tuple[str, int]]:
    """The columns that ``table`` reads, each with its place; Open Images has millions of lines and more columns."""
    wanted = {field.key for field in table.fields}
    return [(name, place) for place, name in enumerate(names) if name in wanted]


def _delimiter(content: str) -> str:
    """What parts the columns: of comma, semicolon and tab, what is most often in the first line."""
    first = content.lstrip().split('\n', 1)[0]
    return max(',;\t', key=first.count)


def _check_columns(names: Sequence[str], table: Table, path: str) -> None:
    missing = [field.key for field in table.fields if field.required and field.key not in names]
    if missing:
        raise DataError(f'{path}: expected a first line that names the columns, among them {missing}, got {names}.')
