"""A training as one page: what its work folder holds, in a single HTML file that needs nothing else."""

import base64
import csv
import html
import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path

from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.utils.outputs import OutputError, check_folder
from mmdetlike.utils.whole_files import write_whole
from mmdetlike.visualization.plots import read_scalars

from .validation_report import FOLDER

NAME = 'report.html'
# values of a row of scalars that say where in the training it is, or how fast that goes
POSITIONS = ('epoch', 'iter', 'step')
PICTURES = {
    'Curves': 'curves.png',
    'Predictions beside ground truth': 'predictions.png',
    'Precision and recall': 'precision_recall.png',
    'Confusion matrix': 'confusion_matrix.png',
    'Worst images': 'worst.png',
    'Best images': 'best.png',
}
TABLES = {
    'By class, at the score of the best F1': 'by_class.csv',
    'By size of objects': 'by_size.csv',
    'At the best threshold of each class': 'class_report.csv',
    'Data': 'data.csv',
    'Classes of the data': 'data_classes.csv',
}
STYLE = """
body { font-family: sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border: 1px solid #ccc; padding: .25rem .6rem; }
td { text-align: right; } td:first-child { text-align: left; } th { background: #f2f2f2; }
img { max-width: 100%; } pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; }
"""


def write_report(work_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of the newest training in a work folder.

    Args:
        work_dir: Of a training.
        out: File to write; ``report.html`` in the work folder by default.

    Returns:
        The file.

    Raises:
        FileNotFoundError: There is no such folder.
        ConfigError: No training has left its scalars there.
        DataError: The scalars or the tables are damaged.
        OutputError: Nothing can be written there.
    """
    folder = Path(work_dir)
    scalars = newest_scalars(folder)
    out = folder / NAME if out is None else Path(out)
    if out.is_dir():
        raise OutputError(f'{out} is a folder: expected the name of a file, such as {out / NAME}')
    check_folder(out.parent)
    content = page(folder, scalars)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, content.encode())
    return out


def newest_scalars(folder: Path) -> Path:
    """The ``scalars.json`` of the newest training in a work folder; errors are those of `write_report`."""
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} is no folder: expected the work folder of a training')
    runs = sorted(folder.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise ConfigError(f'{folder} is no work folder of a training: expected it to contain */vis_data/scalars.json')
    return runs[-1]


def page(folder: Path, scalars: Path) -> str:
    """The HTML of a training.

    Args:
        folder: Its work folder.
        scalars: The ``scalars.json`` of the run.
    """
    try:
        rows = read_scalars(scalars)
    except ValueError as error:
        raise DataError(str(error)) from error
    run = scalars.parents[1]
    training = [row for row in rows if isinstance(row.get('loss'), (int, float))]
    evaluations = [row for row in rows if 'loss' not in row and set(row) - {*POSITIONS, 'time', 'data_time', 'lr'}]
    title = f'Training {folder.resolve().name}'
    parts = [f'<h1>{html.escape(title)}</h1>', f'<p>{html.escape(summary(run, training, evaluations))}</p>']
    if evaluations:
        parts += metric_sections(evaluations)
    # ClassReportMetric writes to the work folder, ReportHook to the folder of the run
    folders = (run / FOLDER, folder, run)
    for name, file in PICTURES.items():
        path = first_file(folders, file)
        parts += [] if path is None else section(name, picture(path))
    for name, file in TABLES.items():
        path = first_file(folders, file)
        parts += [] if path is None else section(name, table_of(path))
    parts += section('Speed', table(speed(training))) if training else []
    log = next(iter(sorted(run.glob('*.log'))), None)
    environment = '' if log is None else environment_of(log.read_text(encoding='utf-8', errors='replace'))
    parts += section('Environment', preformatted(environment)) if environment else []
    config = next(iter(sorted(run.glob('vis_data/config.py'))), None)
    parts += (
        section('Config', preformatted(config.read_text(encoding='utf-8', errors='replace')))
        if config is not None
        else []
    )
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + '\n'.join(parts) + '\n</body></html>\n'


def first_file(folders: Iterable[Path], name: str) -> Path | None:
    """The file in the first folder that has it; None if there is none."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def table_of(path: Path) -> str:
    """A CSV file as a table.

    Raises:
        DataError: It is damaged.
    """
    try:
        with open(path, newline='', encoding='utf-8') as file:
            return table(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f'{path} is damaged ({error}): remove it, or write it again by --results') from error


def summary(run: Path, training: list[dict], evaluations: list[dict]) -> str:
    """One sentence about a run."""
    if not training:
        return f'The run of {run.name} logged no iteration of training.'
    last = training[-1]
    where = f'epoch {last["epoch"]}' if 'epoch' in last else f'iteration {last.get("step", "?")}'
    ended = f'The run of {run.name} ended in {where} with a loss of {last["loss"]:.4g}'
    return f'{ended}; evaluations: {len(evaluations)}.'


def metric_sections(evaluations: list[dict]) -> list[str]:
    """Tables of metrics: the last and the best value, and those of single classes and sizes in their own tables."""
    names = [name for name in evaluations[-1] if name not in (*POSITIONS, 'time', 'data_time')]
    names = [name for name in names if isinstance(evaluations[-1][name], (int, float))]
    of_class = [name for name in names if re.search(r'/.+_precision$', name)]
    of_size = [name for name in names if re.search(r'_(s|m|l)$|_(s|m|l)@', name)]
    others = [name for name in names if name not in of_class and name not in of_size]
    parts = []
    for title, group in (('Metrics', others), ('By size', of_size), ('By class', of_class)):
        header = ['', 'last', 'best', 'at step']
        parts += section(title, table([header, *(metric_row(name, evaluations) for name in group)])) if group else []
    return parts


def metric_row(name: str, evaluations: list[dict]) -> list[str]:
    """Name, last value, best value (the largest) and the step that it belongs to; -1 is COCO's word for none."""
    values = [(row[name], row.get('step', '')) for row in evaluations if isinstance(row.get(name), (int, float))]
    # NaN, as of a validation that went wrong, compares with nothing, so `max` would keep it if it came first
    best, step = max(values, key=lambda pair: -math.inf if math.isnan(pair[0]) else pair[0])
    shown = ['-' if value == -1 else f'{value:.4f}' for value in (values[-1][0], best)]
    return [name, *shown, str(step)]


def speed(training: list[dict]) -> list[list[str]]:
    """Seconds of an iteration, and of waiting for data in it."""
    rows = [['seconds', 'median', 'slowest']]
    for name, words in (('time', 'an iteration'), ('data_time', 'of it waiting for data')):
        values = [row[name] for row in training if isinstance(row.get(name), (int, float))]
        if values:
            rows.append([words, f'{statistics.median(values):.4f}', f'{max(values):.4f}'])
    return rows


def environment_of(log: str) -> str:
    """The part of a log that mmengine writes about machine and versions; empty if there is none."""
    found = re.search(r'^System environment:\n(.*?)\n-{20,}', log, re.MULTILINE | re.DOTALL)
    return '' if found is None else found[1]


def section(title: str, content: str) -> list[str]:
    """A heading, and what is below it."""
    return [f'<h2>{html.escape(title)}</h2>', content]


def table(rows: Iterable[Iterable[str]]) -> str:
    """Rows of texts, the first one being the header."""
    lines = []
    for index, row in enumerate(rows):
        tag = 'td' if index else 'th'
        lines.append('<tr>' + ''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in row) + '</tr>')
    return f'<table>{"".join(lines)}</table>'


def picture(path: Path) -> str:
    """A PNG file as part of the page."""
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{content}">'


def preformatted(text: str) -> str:
    """A text as it is."""
    return f'<pre>{html.escape(text)}</pre>'
