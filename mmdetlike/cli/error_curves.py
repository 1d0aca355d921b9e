"""Pictures and tables of what keeps a detector from being perfect."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from terminaltables import AsciiTable
from tqdm import tqdm

from mmdetlike.evaluation.coco_overlaps import CocoOverlaps
from mmdetlike.evaluation.functional.coco_errors import AREAS, CURVES, RECALLS, ImageOverlaps, class_curves
from mmdetlike.evaluation.functional.tide import MAIN_ERRORS, breakdown, count_errors, judge
from mmdetlike.utils.outputs import check_folder

# as on COCO's page: what is right in white and blue, what is forgiven on the way to 1 in other colors
_COLORS = ('#ffffff', '#b4c7e7', '#5f8fd0', '#d9534f', '#5cb85c', '#9b59b6', '#f0ad4e')
_MEAN = 'all classes'
Curves = dict[str, dict[str, np.ndarray] | None]


def analyze(args: argparse.Namespace) -> None:
    """Write and print what the command line describes."""
    check_folder(args.out_dir)
    overlaps = CocoOverlaps(args.results, args.ann, args.type)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    curves = {
        name: _curves_of_class(overlaps, label)
        for label, name in enumerate(tqdm(overlaps.classes, desc='classes', disable=len(overlaps.classes) < 2))
    }
    mean = {area: _mean([one[area] for one in curves.values() if one[area] is not None]) for area in AREAS}
    draw_curves(mean, _MEAN, args.out_dir / f'{args.type}_all_classes.png')
    for label, (name, one) in enumerate(curves.items()) if not args.no_curves else ():
        draw_curves(one, name, args.out_dir / f'{args.type}_{label:03d}_{_file_name(name)}.png')
    judged = judge(overlaps.images)
    gains = breakdown(judged, len(overlaps.classes))
    counts = count_errors(judged)
    draw_gains(gains, counts, args.out_dir / 'tide.png')
    content = {
        'type': args.type,
        'curves': {name: _areas_under(one) for name, one in {_MEAN: mean, **curves}.items()},
        'tide': {'AP50': gains.pop('AP'), 'gains': gains, 'numbers': counts},
    }
    (args.out_dir / 'errors.json').write_text(json.dumps(content, indent=1), encoding='utf-8')
    _print(content)
    print(f'pictures and errors.json are in {args.out_dir}')


def _curves_of_class(overlaps: CocoOverlaps, label: int) -> Curves:
    images = [image for image in overlaps.images if _concerns(image, label)]
    return {area: class_curves(images, label, overlaps.supercategories, limits) for area, limits in AREAS.items()}


def _concerns(image: ImageOverlaps, label: int) -> bool:
    return bool((image.labels == label).any() or (image.truth_labels == label).any())


def _mean(curves: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray] | None:
    return {name: np.mean([one[name] for one in curves], axis=0) for name in CURVES} if curves else None


def _areas_under(curves: Curves) -> dict[str, dict[str, float] | None]:
    return {
        area: None if one is None else {name: float(values.mean()) for name, values in one.items()}
        for area, one in curves.items()
    }


def _file_name(name: str) -> str:
    return re.sub(r'[^\w-]+', '_', name)[:60]


def draw_curves(curves: Curves, title: str, path: Path) -> None:
    """Draw the seven curves, a panel for each range of areas.

    Args:
        curves: For each range the curves by name, None where there are no such objects.
        title: Title of the picture.
        path: File to write.
    """
    figure = Figure(figsize=(16, 4.2), layout='constrained')
    figure.suptitle(title)
    for axes, (area, one) in zip(figure.subplots(1, len(curves)), curves.items()):
        axes.set(title=area, xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.01))
        if one is None:
            axes.text(0.5, 0.5, 'no objects', ha='center', va='center')
            continue
        below = np.zeros(len(RECALLS))
        for name, color in zip(CURVES, _COLORS):
            label = f'[{one[name].mean():.3f}] {name}'
            axes.fill_between(RECALLS, below, one[name], facecolor=color, edgecolor='black', linewidth=0.6, label=label)
            below = one[name]
        axes.legend(loc='lower left', fontsize=7, framealpha=0.8)
    figure.savefig(path, dpi=90)


def draw_gains(gains: dict[str, float], counts: dict[str, int], path: Path) -> None:
    """Draw what mending each kind of error would add to AP50."""
    figure = Figure(figsize=(6, 3.2), layout='constrained')
    axes = figure.add_subplot()
    values = [100 * gains[kind] for kind in MAIN_ERRORS]
    bars = axes.barh(MAIN_ERRORS, values, color=_COLORS[2])
    axes.bar_label(bars, [f'{value:.2f} ({counts[kind]})' for kind, value in zip(MAIN_ERRORS, values)], padding=3)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set_xlabel(f'added to AP50 of {100 * gains["AP"]:.2f} if mended (number of errors)')
    figure.savefig(path, dpi=110)


def _print(content: dict) -> None:
    rows = [['area under the curve', *CURVES]]
    for area, values in content['curves'][_MEAN].items():
        rows.append([area, *('-' if values is None else f'{values[name]:.3f}' for name in CURVES)])
    print(AsciiTable(rows).table)
    tide = content['tide']
    cells = [f'+{100 * tide["gains"][kind]:.2f} ({tide["numbers"][kind]})' for kind in MAIN_ERRORS]
    ends = [f'+{100 * tide["gains"][kind]:.2f}' for kind in ('FP', 'FN')]
    print(AsciiTable([['AP50', *MAIN_ERRORS, 'FP', 'FN'], [f'{100 * tide["AP50"]:.2f}', *cells, *ends]]).table)
