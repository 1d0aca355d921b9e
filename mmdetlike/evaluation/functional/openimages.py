"""Average precision of the Open Images challenge (arXiv:1811.00982): a class hierarchy, and boxes around groups.

https://storage.googleapis.com/openimages/web/evaluation.html
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from .mean_ap import in_area_range, match_boxes, score_ranking


def with_ancestors(labels: np.ndarray, ancestors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and labels of objects, each once for its own class and once for every class that includes it.

    Args:
        labels: (n,) class of each object.
        ancestors: (classes, classes) nonzero in row i and column j if class j includes class i.
    """
    includes = np.asarray(ancestors)[labels].astype(bool)
    includes[np.arange(len(labels)), labels] = False
    indices, parents = np.nonzero(includes)
    return np.concatenate([np.arange(len(labels)), indices]), np.concatenate([labels, parents])


def eval_openimages(
    predictions: Sequence[dict],
    truths: Sequence[dict],
    num_classes: int,
    iou_thr: float = 0.5,
    ioa_thr: float | None = 0.5,
    area_range: tuple[float, float] | None = None,
) -> tuple[float, list[dict]]:
    """Mean average precision over the classes that have ground truth.

    Of all detections of a class that lie in a box around a group, the best one is right and the others do not count.

    Args:
        predictions: For each image ``bboxes`` (n, 4) xyxy, ``scores`` (n,) and ``labels`` (n,).
        truths: For each image ``bboxes`` (m, 4), ``labels`` (m,) and ``group_of`` (m,), true for boxes around groups.
        num_classes: How many classes.
        iou_thr: Overlap from which on an object counts as found.
        ioa_thr: Share of a detection's area from which on it lies in a group; None to treat groups as single objects.
        area_range: Score only objects whose area in square pixels is in this half-open range.

    Returns:
        The mean (0 without any ground truth), and for each class ``num_gts``, ``num_dets``, ``recall`` and ``ap``.
    """
    parts: dict[int, list] = defaultdict(list)
    totals = np.zeros(num_classes, np.int64)
    for prediction, truth in zip(predictions, truths):
        for label in np.unique(np.concatenate([prediction['labels'], truth['labels']])).astype(int):
            found = {key: prediction[key][prediction['labels'] == label] for key in ('bboxes', 'scores')}
            objects = {key: truth[key][truth['labels'] == label] for key in ('bboxes', 'group_of')}
            parts[label].append(_match_class(found, objects, iou_thr, ioa_thr, area_range))
            totals[label] += in_area_range(objects['bboxes'], area_range).sum()
    classes = [_class_scores(parts[label], int(totals[label])) for label in range(num_classes)]
    known = [one['ap'] for one in classes if one['num_gts']]
    return float(np.mean(known)) if known else 0.0, classes


def _class_scores(parts: list[tuple[np.ndarray, np.ndarray]], total: int) -> dict:
    scores = np.concatenate([np.zeros(0), *(scores for scores, _ in parts)])
    hits = np.concatenate([np.zeros(0, bool), *(hits for _, hits in parts)])
    return score_ranking(scores, hits, np.ones(len(hits), bool), total, 'area')


def _match_class(found: dict, objects: dict, iou_thr: float, ioa_thr: float | None, area_range) -> tuple:
    """Match one class in one image: scores of the detections that count, and a mask of those that are right."""
    order = np.argsort(-found['scores'], kind='stable')
    boxes = found['bboxes'][order]
    scores = found['scores'][order]
    ignore = ~in_area_range(objects['bboxes'], area_range)
    group = objects['group_of'] & (ioa_thr is not None)
    hits, counts = match_boxes(boxes, objects['bboxes'][~group], ignore[~group], iou_thr)
    counts &= hits | in_area_range(boxes, area_range)
    if not group.any() or not len(boxes):
        return scores[counts], hits[counts]
    share = _share_inside(boxes, objects['bboxes'][group])
    inside = (share.max(1) >= ioa_thr) & counts & ~hits
    # detections are sorted, so that the first one in each group is its best
    owners, first = np.unique(share.argmax(1)[inside], return_index=True)
    best_of_groups = scores[inside][first[~ignore[group][owners]]]
    alone = counts & ~inside
    return (
        np.concatenate([scores[alone], best_of_groups]),
        np.concatenate([hits[alone], np.ones(len(best_of_groups), bool)]),
    )


def _share_inside(found: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n, m) share of the area of each box ``found`` that lies in each of ``groups``."""
    top_left = np.maximum(found[:, None, :2], groups[None, :, :2])
    bottom_right = np.minimum(found[:, None, 2:], groups[None, :, 2:])
    intersection = np.clip(bottom_right - top_left, 0, None).prod(-1)
    area = (found[:, 2:] - found[:, :2]).prod(-1)
    return intersection / np.where(area > 0, area, 1)[:, None]
