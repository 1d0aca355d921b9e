"""Tables of what a detector computes, for an image of a given size or for pictures of a dataset."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable
from torch import nn
from tqdm import tqdm

from mmdetlike.apis.complexity import Complexity, blank_batch, measure, with_all_objects
from mmdetlike.apis.detector import build_model
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS
from mmdetlike.utils.checkpoint import load_weights, read_weights
from mmdetlike.utils.config import load_config, located, require
from mmdetlike.utils.run_config import warn_of_unread_settings

_UNITS = ((10**12, 'T'), (10**9, 'G'), (10**6, 'M'), (10**3, 'k'))
_HEADER = ('module', 'type', 'parameters', 'multiply-adds', '%', 'activations')
_TITLES = {'multiply_adds': 'multiply-adds', 'activations': 'activations'}


def count(args: argparse.Namespace) -> None:
    """Print the table that the command line describes."""
    cfg = load_config(args.config, args.cfg_options)
    require(cfg, 'model')
    warn_of_unread_settings(cfg, args.cfg_options)
    rows = _of_data(cfg, args) if args.data else _of_shape(cfg, args.shape)
    print(table(rows, args.depth))
    whole = rows[0]
    print(f'{short(whole.parameters)} parameters, {short(whole.multiply_adds)} multiply-adds', end=' ')
    print(f'({short(whole.flops)} floating point operations), {short(whole.activations)} activations')
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps([asdict(row) for row in rows], indent=1))
        print(f'written to {args.out}')


def table(rows: Sequence[Complexity], depth: int) -> str:
    """The modules down to ``depth``, those left out that have no parameters and compute nothing."""
    total = max(rows[0].multiply_adds, 1)
    cells = [list(_HEADER)]
    for row in rows:
        level = row.name.count('.') + 1 if row.name else 0
        if level <= depth and (row.parameters or row.multiply_adds or not row.name):
            share = f'{100 * row.multiply_adds / total:.1f}'
            name = '  ' * max(level - 1, 0) + (row.name.rpartition('.')[2] or 'model')
            numbers = [short(row.parameters), short(row.multiply_adds), share, short(row.activations)]
            cells.append([name, row.kind, *numbers])
    drawn = AsciiTable(cells)
    for column in range(2, len(_HEADER)):
        drawn.justify_columns[column] = 'right'
    return drawn.table


def short(number: float) -> str:
    """A number with its unit: 206.5 G."""
    for factor, unit in _UNITS:
        if abs(number) >= factor:
            return f'{number / factor:.2f} {unit}'
    return f'{number:g}'


def _of_shape(cfg, shape: Sequence[int]) -> list[Complexity]:
    height = shape[0]
    width = shape[-1]
    print(f'an image of {height} x {width} (height x width), with as many objects as the config allows')
    return measure(build_model(with_all_objects(cfg)).eval(), blank_batch(height, width))


def _of_data(cfg, args: argparse.Namespace) -> list[Complexity]:
    """The means over pictures of the test set; the spread is printed."""
    require(cfg, 'test_dataloader')
    if args.checkpoint is None:
        print('no --checkpoint: the number of objects is that of random weights')
    model = build_model(cfg).eval()
    if args.checkpoint is not None:
        load_weights(model, read_weights(args.checkpoint), args.checkpoint)
    with located(cfg):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if len(dataset) == 0:
        raise ConfigError(f'{Path(args.config).name}: test_dataloader.dataset has no pictures')
    indices = _spread_out(len(dataset), args.number)
    pictures = [_measured(model, dataset, index) for index in tqdm(indices, desc='pictures')]
    print(f'means over {len(indices)} pictures of {len(dataset)}')
    for key, title in _TITLES.items():
        values = np.array([getattr(rows[0], key) for rows in pictures], dtype=float)
        parts = [f'{name} {short(value)}' for name, value in _spread(values).items()]
        print(f'{title}: {", ".join(parts)}')
    return [_mean(rows) for rows in zip(*pictures)]


def _measured(model: nn.Module, dataset, index: int) -> list[Complexity]:
    data = dataset[index]
    return measure(model, [dict(inputs=data['inputs'], data_samples=data['data_samples'])])


def _spread_out(length: int, number: int) -> list[int]:
    """Up to ``number`` indices, evenly over the whole: neighbors in a dataset are often alike."""
    return np.unique(np.linspace(0, length - 1, min(number, length)).round().astype(int)).tolist()


def _spread(values: np.ndarray) -> dict[str, float]:
    return {'mean': values.mean(), 'standard deviation': values.std(), 'least': values.min(), 'most': values.max()}


def _mean(rows: Sequence[Complexity]) -> Complexity:
    first = rows[0]
    multiply_adds = round(np.mean([row.multiply_adds for row in rows]))
    activations = round(np.mean([row.activations for row in rows]))
    return Complexity(first.name, first.kind, first.parameters, multiply_adds, activations)
