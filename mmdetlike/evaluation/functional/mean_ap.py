"""Mean average precision as PASCAL VOC defines it (The PASCAL Visual Object Classes Challenge, 2007 and 2012)."""

from collections.abc import Sequence

import numpy as np
import torch

from ...structures.bbox import geometry
from .overlaps import box_iou


def average_precision(recalls: np.ndarray, precisions: np.ndarray, mode: str = 'area') -> float:
    """Area under the precision-recall curve.

    Args:
        recalls: (n,) ascending.
        precisions: (n,) precision at each recall.
        mode: 'area' (exact, VOC 2010 on) or '11points' (mean at recall 0, 0.1, ..., 1, VOC 2007).
    """
    if mode not in ('area', '11points'):
        raise ValueError(f"mode should be 'area' or '11points', got {mode!r}.")
    # the best precision at this recall or beyond it; the 0 stands for recalls that are never reached
    envelope = np.maximum.accumulate(np.concatenate([precisions, [0]])[::-1])[::-1]
    if mode == 'area':
        steps = np.diff(np.concatenate([[0], recalls]))
        return float((steps * envelope[:-1]).sum())
    # less a little, so that a recall of 0.3 counts as reaching 0.30000000000000004
    indices = np.searchsorted(recalls, np.linspace(0, 1, 11) - 1e-9)
    return float(envelope[indices].mean())


def eval_map(
    predictions: Sequence[dict],
    truths: Sequence[dict],
    num_classes: int,
    iou_thr: float = 0.5,
    mode: str = 'area',
    area_range: tuple[float, float] | None = None,
) -> tuple[float, list[dict]]:
    """Mean average precision over the classes that have ground truth.

    Args:
        predictions: For each image ``bboxes`` (n, 4) xyxy, or rotated ones (n, 5), ``scores`` (n,) and ``labels`` (n,).
        truths: For each image ``bboxes`` (m, 4 or 5), ``labels`` (m,) and ``ignore`` (m,), true for difficult ones:
            neither right nor wrong to find.
        num_classes: How many classes.
        iou_thr: Overlap from which on a box counts as found.
        mode: As in ``average_precision``.
        area_range: Score only objects whose area in square pixels is in this half-open range.

    Returns:
        The mean (0 without any ground truth), and for each class ``num_gts``, ``num_dets``, ``recall`` and ``ap``.
    """
    classes = [_class_scores(predictions, truths, label, iou_thr, mode, area_range) for label in range(num_classes)]
    known = [one['ap'] for one in classes if one['num_gts']]
    return float(np.mean(known)) if known else 0.0, classes


def _class_scores(predictions, truths, label: int, iou_thr: float, mode: str, area_range) -> dict:
    """Pool the detections of a class over all images, after they were matched image by image."""
    scores = []
    hits = []
    counted = []
    total = 0
    for prediction, truth in zip(predictions, truths):
        found = prediction['labels'] == label
        mine = truth['labels'] == label
        boxes = truth['bboxes'][mine]
        ignore = truth['ignore'][mine] | ~in_area_range(truth['bboxes'][mine], area_range)
        order = np.argsort(-prediction['scores'][found], kind='stable')
        found_boxes = prediction['bboxes'][found][order]
        hit, count = match_boxes(found_boxes, boxes, ignore, iou_thr)
        # like COCO: a box of another size is no error, but counts if it has found an object of this size
        count &= hit | in_area_range(found_boxes, area_range)
        scores.append(prediction['scores'][found][order])
        hits.append(hit)
        counted.append(count)
        total += int((~ignore).sum())
    return score_ranking(*map(np.concatenate, (scores, hits, counted)), total, mode) if scores else _nothing()


def _nothing() -> dict:
    return {'num_gts': 0, 'num_dets': 0, 'recall': 0.0, 'ap': 0.0}


def score_ranking(scores: np.ndarray, hits: np.ndarray, counted: np.ndarray, total: int, mode: str) -> dict:
    """``num_gts``, ``num_dets``, ``recall`` and ``ap`` of one class.

    Args:
        scores: (n,) of detections of all images.
        hits: (n,) bool, which of them are right.
        counted: (n,) bool, which of them count.
        total: Number of objects to find.
        mode: As in ``average_precision``.
    """
    order = np.argsort(-scores, kind='stable')
    order = order[counted[order]]
    right = np.cumsum(hits[order])
    recalls = right / max(total, 1)
    precisions = right / np.arange(1, len(order) + 1)
    return {
        'num_gts': total,
        'num_dets': len(order),
        'recall': float(recalls[-1]) if len(recalls) else 0.0,
        'ap': average_precision(recalls, precisions, mode) if total else 0.0,
    }


def in_area_range(boxes: np.ndarray, area_range: tuple[float, float] | None) -> np.ndarray:
    """Which boxes have an area, in square pixels, in the half-open range; all if there is none."""
    if area_range is None:
        return np.ones(len(boxes), bool)
    area = geometry.areas(torch.from_numpy(boxes)).numpy()
    return (area >= area_range[0]) & (area < area_range[1])


def match_boxes(
    found: np.ndarray, boxes: np.ndarray, ignore: np.ndarray, iou_thr: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the boxes ``found`` (best first) hit an object, and which count at all.

    Each is compared with the object it overlaps most, as VOC does: a second box on the same object is wrong, even
    if it overlaps another object, which COCO would let it have.

    Args:
        found: (n, 4 or 5) detections of a class in an image.
        boxes: (m, 4 or 5) objects of the class.
        ignore: (m,) bool, objects that are neither right nor wrong to find.
        iou_thr: Overlap from which on an object counts as found.
    """
    hits = np.zeros(len(found), bool)
    counted = np.ones(len(found), bool)
    if not len(boxes):
        return hits, counted
    iou = box_iou(found, boxes)
    taken = np.zeros(len(boxes), bool)
    for row, best in enumerate(iou.argmax(1)):
        if iou[row, best] < iou_thr:
            continue
        if ignore[best]:
            counted[row] = False
        elif not taken[best]:
            hits[row] = taken[best] = True
    return hits, counted
