"""Scores as a table in the log."""

from collections.abc import Sequence

from mmengine.logging import print_log
from terminaltables import AsciiTable


def log_table(title: str, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Log ``rows`` under ``header``; fractions with three decimals, -1 (nothing to score) as a dash."""
    table = AsciiTable([list(header), *([_cell(value) for value in row] for row in rows)])
    table.inner_footing_row_border = False
    for column in range(1, len(header)):
        table.justify_columns[column] = 'right'
    print_log(f'\n{title}\n{table.table}', logger='current')


def _cell(value) -> str:
    if not isinstance(value, float):
        return str(value)
    return '-' if value < 0 or value != value else f'{value:.3f}'
