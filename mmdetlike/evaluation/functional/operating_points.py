"""What a detector does at one score threshold: precision, recall, F1, and which classes it takes for which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .mean_ap import match_boxes
from .overlaps import box_iou


@dataclass(frozen=True)
class OperatingPoint:
    """Precision, recall and their harmonic mean of a class if detections below a threshold are left out."""

    threshold: float
    precision: float
    recall: float
    f1: float


def ranked_by_class(
    predictions: Sequence[dict], truths: Sequence[dict], num_classes: int, iou_thr: float
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """For each class the scores of its detections, best first, which of them are right, and its number of objects.

    Args:
        predictions: For each image ``bboxes`` (n, 4) xyxy, ``scores`` and ``labels`` (n,).
        truths: For each image ``bboxes`` (m, 4), ``labels`` and ``ignore`` (m,).
        num_classes: Number of classes.
        iou_thr: Overlap from which on an object counts as found.
    """
    scores: list[list[np.ndarray]] = [[np.zeros(0)] for _ in range(num_classes)]
    hits: list[list[np.ndarray]] = [[np.zeros(0, bool)] for _ in range(num_classes)]
    totals = np.zeros(num_classes, np.int64)
    for prediction, truth in zip(predictions, truths):
        totals += np.bincount(truth['labels'][~truth['ignore']], minlength=num_classes)
        # an image shows few of the classes
        for label in np.unique(prediction['labels']):
            found, mine = prediction['labels'] == label, truth['labels'] == label
            order = np.argsort(-prediction['scores'][found], kind='stable')
            boxes = prediction['bboxes'][found][order]
            hit, counted = match_boxes(boxes, truth['bboxes'][mine], truth['ignore'][mine], iou_thr)
            scores[label].append(prediction['scores'][found][order][counted])
            hits[label].append(hit[counted])
    return [_best_first(*parts) for parts in zip(scores, hits, totals.tolist())]


def _best_first(scores: list[np.ndarray], hits: list[np.ndarray], total: int) -> tuple[np.ndarray, np.ndarray, int]:
    joined = np.concatenate(scores)
    order = np.argsort(-joined, kind='stable')
    return joined[order], np.concatenate(hits)[order], total


def best_point(scores: np.ndarray, hits: np.ndarray, total: int) -> OperatingPoint:
    """The threshold with the highest F1, the highest of several; NaN for a class without objects.

    Args:
        scores: (n,) best first.
        hits: (n,) bool, which are right.
        total: Number of objects.
    """
    if not total:
        return OperatingPoint(*[float('nan')] * 4)
    # a threshold takes all detections of one score or none
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, int)
    right = np.cumsum(hits)[last]
    precision = right / (last + 1)
    recall = right / total
    f1 = 2 * right / (last + 1 + total)
    if not len(f1) or not f1.max():
        return OperatingPoint(1.0, 0.0, 0.0, 0.0)
    best = int(f1.argmax())
    return OperatingPoint(*(float(values[best]) for values in (scores[last], precision, recall, f1)))


def confusion_matrix(
    predictions: Sequence[dict], truths: Sequence[dict], num_classes: int, score_thr: float, iou_thr: float
) -> np.ndarray:
    """(num_classes + 1, num_classes + 1) numbers of objects of a class (row) that were found as a class (column).

    The last row is for detections of nothing, the last column for objects that were not found. Each detection, best
    first, takes the free object of any class that it overlaps most.

    Args:
        predictions: For each image ``bboxes`` (n, 4) xyxy, ``scores`` and ``labels`` (n,).
        truths: For each image ``bboxes`` (m, 4), ``labels`` and ``ignore`` (m,); what is ignored may be found or not.
        num_classes: Number of classes.
        score_thr: Detections of a lower score are left out.
        iou_thr: Overlap from which on an object counts as found.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for prediction, truth in zip(predictions, truths):
        kept = np.flatnonzero(prediction['scores'] >= score_thr)
        kept = kept[np.argsort(-prediction['scores'][kept], kind='stable')]
        iou = box_iou(prediction['bboxes'][kept], truth['bboxes'])
        free = np.ones(len(truth['bboxes']), bool)
        for label, values in zip(prediction['labels'][kept], iou):
            near = np.where(free, values, -1)
            best = int(near.argmax()) if len(near) else -1
            if best < 0 or near[best] < iou_thr:
                matrix[num_classes, label] += 1
            elif not truth['ignore'][best]:
                matrix[truth['labels'][best], label] += 1
                free[best] = False
        missed = truth['labels'][free & ~truth['ignore']]
        matrix[:, num_classes] += np.bincount(missed, minlength=num_classes + 1)
    return matrix
