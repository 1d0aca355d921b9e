"""Timing of data loading and inference."""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from terminaltables import AsciiTable
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from mmdetlike.apis.detector import build_model, check_device
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint import load_weights, read_weights
from mmdetlike.utils.config import load_config, located, require
from mmdetlike.utils.run_config import warn_of_unread_settings

PERCENTILES = (50, 90, 95, 99)
_HELD = 8  # batches that inference alone goes through in turns


def benchmark(args: argparse.Namespace) -> None:
    """Print, and maybe write, how long the tasks take."""
    cfg = load_config(args.config, args.cfg_options)
    require(cfg, 'model', f'{args.split}_dataloader')
    warn_of_unread_settings(cfg, args.cfg_options)
    init_default_scope(cfg.default_scope)
    device = check_device(args.device)
    with located(cfg):
        loader = Runner.build_dataloader(cfg[f'{args.split}_dataloader'], seed=0)
    if len(loader) == 0:
        raise ConfigError(f'{cfg.filename}: {args.split}_dataloader has no batches')
    model = None if args.tasks == ['data'] else _model(cfg, args.checkpoint, device)
    _describe(loader, device)
    results = {task: summary(_measured(task, loader, model, device, args)) for task in args.tasks}
    print(table(results))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1))
        print(f'written to {args.out}')


def _model(cfg: Config, checkpoint: str | None, device: torch.device) -> nn.Module:
    if checkpoint is None:
        print('no checkpoint: the number of objects, on which the time depends, is that of random weights')
    model = build_model(cfg)
    if checkpoint is not None:
        load_weights(model, read_weights(checkpoint), checkpoint)
    return model.to(device).eval()


def _describe(loader: DataLoader, device: torch.device) -> None:
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
    print(f'{name}, {torch.get_num_threads()} threads; {loader.num_workers} workers load the data', end='; ')
    print(f'torch {torch.__version__}')


def _measured(
    task: str, loader: DataLoader, model: nn.Module | None, device: torch.device, args: argparse.Namespace
) -> list[tuple[float, int]]:
    """Seconds and number of images of each batch of a task, the warm-up left out."""
    steps = _STEPS[task](loader, model)
    measured = []
    for number in tqdm(range(args.warmup + args.number), desc=task):
        _finish(device)
        start = time.perf_counter()
        images = next(steps)
        _finish(device)
        if number >= args.warmup:
            measured.append((time.perf_counter() - start, images))
    return measured


def _finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _batches(loader: DataLoader) -> Iterator[dict]:
    """Batches without end: the dataset over and over."""
    while True:
        yield from loader


def _load(loader: DataLoader, model: nn.Module | None) -> Iterator[int]:
    return (_count(batch) for batch in _batches(loader))


def _infer(loader: DataLoader, model: nn.Module) -> Iterator[int]:
    held = list(itertools.islice(loader, _HELD))
    return (_predict(model, batch) for batch in itertools.cycle(held))


def _both(loader: DataLoader, model: nn.Module) -> Iterator[int]:
    return (_predict(model, batch) for batch in _batches(loader))


_STEPS: dict[str, Callable[[DataLoader, Any], Iterator[int]]] = {'data': _load, 'inference': _infer, 'both': _both}


def _predict(model: nn.Module, batch: dict) -> int:
    with torch.no_grad():
        model.test_step(batch)
    return _count(batch)


def _count(batch: dict) -> int:
    """The number of images of a batch, which may have several versions of each."""
    inputs = batch['inputs']
    return len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)


def summary(measured: list[tuple[float, int]]) -> dict[str, float]:
    """Images a second, and milliseconds of a batch: mean, least, percentiles and most.

    Args:
        measured: Seconds and number of images of each batch.
    """
    seconds, images = map(np.array, zip(*measured))
    milliseconds = 1000 * seconds
    numbers = {'images/s': images.sum() / seconds.sum(), 'mean': milliseconds.mean(), 'least': milliseconds.min()}
    numbers |= dict(zip((f'{p}%' for p in PERCENTILES), np.percentile(milliseconds, PERCENTILES)))
    numbers['most'] = milliseconds.max()
    return {name: float(value) for name, value in numbers.items()}


def table(results: dict[str, dict[str, float]]) -> str:
    """The numbers of each task, one a row."""
    names = list(next(iter(results.values())))
    rows = [['ms of a batch', *names]]
    rows += [[task, *(f'{numbers[name]:.2f}' for name in names)] for task, numbers in results.items()]
    drawn = AsciiTable(rows)
    for column in range(1, len(names) + 1):
        drawn.justify_columns[column] = 'right'
    return drawn.table
