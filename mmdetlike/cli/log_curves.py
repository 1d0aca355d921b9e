"""Curves and times from the scalars.json of trainings."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmdetlike.datasets.errors import DataError
from mmdetlike.visualization.plots import Curve, collect_curves, plot_curves, plot_training_curves, read_scalars


def analyze(args: argparse.Namespace) -> None:
    """Do the task that the command line names.

    Raises:
        DataError: A log holds no scalars.
    """
    for path in args.json_logs:
        if not read_scalars(path):
            raise DataError(f'{path} holds no scalars: expected the scalars.json of a run, a JSON object a line')
    {'plot_curve': plot_curve, 'cal_train_time': cal_train_time}[args.task](args)


def plot_curve(args: argparse.Namespace) -> None:
    """Draw an overview of a single log, or the curves of ``--keys`` of all logs."""
    out = args.out or args.json_logs[0].with_name('curves.png')
    if args.keys is None and len(args.json_logs) == 1:
        plot_training_curves(args.json_logs[0], out)
    else:
        plot_curves(_named_curves(args.json_logs, args.keys or ['loss'], args.legend), out, args.title)
    print(f'written to {out}')


def cal_train_time(args: argparse.Namespace) -> None:
    """Print the mean time of an iteration, of the slowest and of the fastest epoch of each log."""
    for path in args.json_logs:
        means = _epoch_times(path, args.include_outliers)
        slowest = max(means, key=means.get)
        fastest = min(means, key=means.get)
        print(f'-----Analyze train time of {path}-----')
        print(f'slowest epoch {slowest}, average time is {means[slowest]:.4f} s/iter')
        print(f'fastest epoch {fastest}, average time is {means[fastest]:.4f} s/iter')
        print(f'time std over epochs is {np.std(list(means.values())):.4f}')
        print(f'average iter time: {np.mean(list(means.values())):.4f} s/iter\n')


def _named_curves(paths: list[Path], keys: list[str], legend: list[str] | None) -> dict[str, Curve]:
    found = [(path, _find(key, collect_curves(read_scalars(path)), path)) for path in paths for key in keys]
    if legend is None:
        legend = [f'{_run_name(path)} {name}' if len(paths) > 1 else name for path, (name, _) in found]
    if len(legend) != len(found):
        raise ValueError(f'--legend has {len(legend)} names for {len(found)} curves')
    if len(set(legend)) != len(legend):
        raise ValueError(f'curves need different names; name them with --legend: {", ".join(legend)}')
    return {name: curve for name, (_, (_, curve)) in zip(legend, found)}


def _find(key: str, curves: Mapping[str, Curve], path: Path) -> tuple[str, Curve]:
    """The curve of ``key``; 'bbox_mAP' finds 'coco/bbox_mAP' where nothing else ends so."""
    if key in curves:
        return key, curves[key]
    ends = [name for name in curves if name.endswith(f'/{key}')]
    if len(ends) == 1:
        return ends[0], curves[ends[0]]
    raise ValueError(f'{path} has no {key!r}; it has {", ".join(sorted(curves))}')


def _run_name(path: Path) -> str:
    """Name of the run of a log: mmengine writes WORK_DIR/TIME/vis_data/scalars.json."""
    if path.parent.name == 'vis_data' and len(path.parents) > 2:
        return f'{path.parents[2].name}/{path.parents[1].name}'.lstrip('/')
    return f'{path.parent.name}/{path.stem}'.lstrip('/')


def _epoch_times(path: Path, include_outliers: bool) -> dict[int, float]:
    """Mean seconds of an iteration for each epoch (for 0 when the run was not split into epochs)."""
    times: dict[int, list[float]] = {}
    for row in read_scalars(path):
        if 'time' in row and ('loss' in row or 'lr' in row):
            times.setdefault(row.get('epoch', 0), []).append(row['time'])
    if not times:
        raise ValueError(f'{path} has no times of training iterations')
    return {
        epoch: float(np.mean(values if include_outliers else values[1:] or values)) for epoch, values in times.items()
    }
