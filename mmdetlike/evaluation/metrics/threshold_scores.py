"""Mean average precision at several thresholds and object sizes: names of the scores, their mean, their tables."""

from collections.abc import Callable, Sequence

import numpy as np

from .tables import log_table

Range = tuple[float, float]


def threshold_names(iou_thrs: Sequence[float], scale_ranges: Sequence[Range] | None) -> list[str]:
    """``mAP``, then ``AP50`` and ``AP50_32-96`` for each threshold and range of sizes."""
    ranges = ['', *(_range_name(*sizes) for sizes in scale_ranges or ())]
    return ['mAP', *(f'{_threshold_name(thr)}{sizes}' for thr in iou_thrs for sizes in ranges)]


def threshold_scores(
    iou_thrs: Sequence[float],
    scale_ranges: Sequence[Range] | None,
    classes: Sequence[str],
    evaluate: Callable[[float, Range | None], tuple[float, list[dict]]],
) -> dict[str, float]:
    """Scores by the names of ``threshold_names``; ``mAP`` is the mean over the thresholds.

    Args:
        iou_thrs: Thresholds.
        scale_ranges: Pairs of the square roots of areas, in pixels.
        classes: Names of the classes, for the tables in the log.
        evaluate: Gives for a threshold and a range of areas the mean, and of each class ``num_gts``, ``num_dets``,
            ``recall`` and ``ap``.
    """
    scores = {}
    for thr in iou_thrs:
        name = _threshold_name(thr)
        scores[name] = _logged(classes, thr, None, evaluate)
        for low, high in scale_ranges or ():
            scores[f'{name}{_range_name(low, high)}'] = _logged(classes, thr, (low**2, high**2), evaluate)
    overall = [scores[_threshold_name(thr)] for thr in iou_thrs]
    return {'mAP': float(np.mean(overall)), **scores}


def _logged(classes: Sequence[str], thr: float, area_range: Range | None, evaluate: Callable) -> float:
    mean, each = evaluate(thr, area_range)
    rows = [[name, r['num_gts'], r['num_dets'], r['recall'], r['ap']] for name, r in zip(classes, each)]
    title = f'IoU {thr:g}' + (f', area {area_range[0]:g} to {area_range[1]:g}' if area_range else '')
    log_table(title, ['class', 'gts', 'dets', 'recall', 'ap'], [*rows, ['mAP', '', '', '', mean]])
    return mean


def _threshold_name(thr: float) -> str:
    return f'AP{round(thr * 100):02d}'


def _range_name(low: float, high: float) -> str:
    return f'_{low:g}-{high:g}'
