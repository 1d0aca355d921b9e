"""Curves of a training run from the scalars that mmengine's Runner logs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import distinct_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[np.ndarray, np.ndarray]

_NOT_METRICS = {'time', 'data_time', 'step', 'iter', 'epoch', 'memory', 'lr', 'base_lr', 'grad_norm', 'eta'}
_NAMED_CLASSES = 15
_HEADLINE = ('mAP', 'AP', 'mIoU', 'PQ', 'AR')


def read_scalars(path: str | Path) -> list[dict]:
    """Read a log of scalars of mmengine: one JSON object a line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a JSON object; a last line that was cut off while it was written is left out.
    """
    lines = Path(path).read_text(encoding='utf-8', errors='replace').splitlines()  # what is no text is no JSON either
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines):
            raise ValueError(f'{path}, line {number}: expected a JSON object, got {line[:60]!r}')
    return rows


def collect_curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Turn rows of scalars into curves.

    Args:
        rows: As :func:`read_scalars` returns them. Rows of validation give their epoch as ``step`` in epoch-based runs;
            they are placed at the iteration of the row of training before them if that is later.

    Returns:
        For each name its iterations and values, two arrays (n,).
    """
    points: dict[str, list[tuple[float, float]]] = {}
    iteration = 0.0
    for row in rows:
        if 'loss' in row or 'lr' in row:
            iteration = position = row.get('step', row.get('iter', iteration))
        else:
            position = max(iteration, row.get('step', 0))
        for name, value in row.items():
            if isinstance(value, (int, float)):
                points.setdefault(name, []).append((position, float(value)))
    return {name: (np.array(pairs)[:, 0], np.array(pairs)[:, 1]) for name, pairs in points.items()}


def plot_training_curves(scalars: str | Path | Sequence[Mapping[str, Any]], out_file: str | Path) -> None:
    """Draw loss terms, evaluation results and learning rate over iterations into one figure.

    Args:
        scalars: The ``scalars.json`` that a run wrote, or its rows.
        out_file: File to write; its folder is made if needed.

    Raises:
        ValueError: there is nothing to draw.
    """
    rows = read_scalars(scalars) if isinstance(scalars, (str, Path)) else scalars
    curves = collect_curves(rows)
    losses = {name: curve for name, curve in curves.items() if 'loss' in name}
    metrics = _metrics(curves)
    panels = [(_draw_losses, losses, 3.0), (_draw_metrics, metrics, 2.2)]
    panels.append((_draw_lr, {'lr': curves['lr']} if 'lr' in curves else {}, 1.2))
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        raise ValueError(f'no losses, learning rates or evaluation results among the scalars: {sorted(curves)}')
    figure, axes = _figure([height for *_, height in panels])
    for axis, (draw, group, _) in zip(axes, panels):
        draw(axis, group)
    axes[-1].set_xlabel('iteration')
    figure.align_ylabels(axes)
    save_figure(figure, out_file)


def plot_curves(curves: Mapping[str, Curve], out_file: str | Path, title: str = '', x_label: str = 'iteration') -> None:
    """Draw named curves into one panel with a legend.

    Args:
        curves: For each name its positions and values, two arrays (n,).
        out_file: File to write; its folder is made if needed.
        title: Above the panel.
        x_label: What the positions are.
    """
    figure, (axis,) = _figure([4.5])
    for (name, (x, y)), color in zip(curves.items(), _line_colors(len(curves))):
        axis.plot(x, y, color=color, linewidth=1.5, marker='o' if len(x) < 25 else None, markersize=3.5, label=name)
    axis.set_title(title, fontsize=11)
    axis.set_xlabel(x_label)
    _legend(axis, len(curves))
    save_figure(figure, out_file)


def plot_precision_recall(
    recalls: np.ndarray, classes: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray], out_file: str | Path
) -> None:
    """Draw precision over recall: the means, and each class behind them.

    Args:
        recalls: (n,).
        classes: For each class its precisions (n,), the most important one first; 15 are named in the legend.
        means: For each name its precisions (n,).
        out_file: File to write; its folder is made if needed.
    """
    figure, (axis,) = _figure([5.0])
    for number, (name, precisions) in enumerate(classes.items()):
        is_named = number < _NAMED_CLASSES
        color = _line_colors(_NAMED_CLASSES)[number] if is_named else '0.85'
        label = f'{name} ({precisions.mean():.3f})' if is_named else None
        axis.plot(recalls, precisions, color=color, linewidth=1.1, label=label, zorder=2 if is_named else 1)
    for (name, precisions), style in zip(means.items(), ('-', '--', ':')):
        label = f'{name} ({precisions.mean():.3f})'
        axis.plot(recalls, precisions, style, color='black', linewidth=2.4, label=label, zorder=3)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel('recall')
    axis.set_ylabel('precision')
    _legend(axis, len(means) + min(len(classes), _NAMED_CLASSES))
    save_figure(figure, out_file)


def save_figure(figure: 'Figure', out_file: str | Path) -> None:
    """Write a figure in the format of the suffix of ``out_file``; folders are made as needed."""
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=120)


def _figure(heights: list[float]) -> tuple['Figure', list['Axes']]:
    """A figure of panels that share their x axis, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.0 + sum(heights)), layout='constrained')
    FigureCanvasAgg(figure)  # attaches itself to the figure, which can be saved then
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis in axes:
        axis.grid(color='0.9', linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[['top', 'right']].set_visible(False)
        axis.tick_params(labelsize=9)
    return figure, list(axes)


def _line_colors(n: int) -> list[tuple[float, ...]]:
    """Distinct colors, darkened to be visible as thin lines on white."""
    return [tuple(0.8 * channel / 255 for channel in color) for color in distinct_colors(n)]


def _legend(axis: 'Axes', entries: int) -> None:
    axis.legend(
        fontsize=8, frameon=False, ncols=1 if entries <= 10 else 2, loc='center left', bbox_to_anchor=(1.0, 0.5)
    )


def _metrics(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Evaluation results worth a curve: the headline of each kind ('coco/bbox_mAP'), or all where there is none."""
    results = {
        name: curve for name, curve in curves.items() if name not in _NOT_METRICS and 'loss' not in name and '/' in name
    }
    headlines = {name: curve for name, curve in results.items() if name.endswith(_HEADLINE)}
    extra = {name: curve for name, curve in results.items() if name.endswith('mAP_50')}
    return {**headlines, **extra} or results


def _draw_losses(axis: 'Axes', losses: Mapping[str, Curve]) -> None:
    terms = sorted(name for name in losses if name != 'loss')
    for name, color in zip(terms, _line_colors(len(terms))):
        _draw_smooth(axis, losses[name], color, name, 1.4)
    if 'loss' in losses:
        _draw_smooth(axis, losses['loss'], (0.1, 0.1, 0.1), 'loss (sum)', 2.2)
    finite = np.concatenate([y[np.isfinite(y)] for _, y in losses.values()])
    if len(finite) and finite.min() > 0 and finite.max() > 50 * np.median(finite):
        axis.set_yscale('log')
    elif len(finite):
        axis.set_ylim(bottom=min(0.0, finite.min()))
    axis.set_ylabel('loss')
    _mark_divergence(axis, losses)
    _legend(axis, len(losses))


def _draw_smooth(axis: 'Axes', curve: Curve, color: tuple, label: str, width: float) -> None:
    x, y = curve
    if len(y) < 30:
        axis.plot(x, y, color=color, linewidth=width, label=label)
        return
    axis.plot(x, y, color=color, linewidth=0.7, alpha=0.25)
    axis.plot(x, _smooth(y), color=color, linewidth=width, label=label)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Exponential moving average over a fortieth of the curve, unbiased at its start; skips what is not finite."""
    decay = 1 - 1 / max(2.0, len(values) / 40)
    smooth = np.empty_like(values)
    total = 0.0
    weight = 0.0
    for i, value in enumerate(values):
        if math.isfinite(value):
            total = decay * total + value
            weight = decay * weight + 1
        smooth[i] = total / weight if weight else math.nan
    return smooth


def _mark_divergence(axis: 'Axes', losses: Mapping[str, Curve]) -> None:
    bad = [x[~np.isfinite(y)][0] for x, y in losses.values() if not np.isfinite(y).all()]
    if bad:
        axis.axvline(min(bad), color='crimson', linestyle='--', linewidth=1)
        in_axis_height = axis.get_xaxis_transform()  # y as a share of the panel's height
        axis.text(min(bad), 0.97, ' not finite', color='crimson', fontsize=8, va='top', transform=in_axis_height)


def _draw_metrics(axis: 'Axes', metrics: Mapping[str, Curve]) -> None:
    for (name, (x, y)), color in zip(metrics.items(), _line_colors(len(metrics))):
        known = np.where(np.isfinite(y), y, -np.inf)
        best = int(np.argmax(known))
        axis.plot(x, y, color=color, linewidth=1.6, marker='o', markersize=3.5, label=f'{name} (best {y[best]:.3f})')
        axis.plot(x[best], y[best], color=color, marker='*', markersize=11)
    axis.set_ylim(bottom=0)
    axis.set_ylabel('evaluation')
    _legend(axis, len(metrics))


def _draw_lr(axis: 'Axes', lr: Mapping[str, Curve]) -> None:
    axis.plot(*lr['lr'], color='0.35', linewidth=1.5)
    axis.ticklabel_format(axis='y', style='sci', scilimits=(-2, 3))
    axis.set_ylim(bottom=0)
    axis.set_ylabel('learning rate')
