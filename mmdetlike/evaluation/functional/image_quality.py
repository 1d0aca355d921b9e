"""How well the objects of one image were found, in one number that is cheap to compute."""

import numpy as np

from .mean_ap import match_boxes
from .overlaps import box_iou


def box_quality(prediction: dict, truth: dict, score_thr: float, iou_thr: float = 0.5) -> float:
    """Panoptic quality of boxes: overlap of what was found, over found + half of missed + half of wrong.

    From Panoptic Segmentation, arXiv:1801.00868, with boxes in place of segments. 1 where there is nothing to find and
    nothing is found.

    Args:
        prediction: ``bboxes`` (n, 4) xyxy, ``scores`` and ``labels`` (n,).
        truth: ``bboxes`` (m, 4), ``labels`` and ``ignore`` (m,).
        score_thr: Score from which on something counts as found.
        iou_thr: Overlap from which on an object counts as found.
    """
    kept = np.flatnonzero(prediction['scores'] >= score_thr)
    kept = kept[np.argsort(-prediction['scores'][kept], kind='stable')]
    overlap = 0.0
    found = wrong = 0
    for label in np.union1d(prediction['labels'][kept], truth['labels']):
        boxes = prediction['bboxes'][kept[prediction['labels'][kept] == label]]
        mine = truth['labels'] == label
        hit, counted = match_boxes(boxes, truth['bboxes'][mine], truth['ignore'][mine], iou_thr)
        found += int(hit.sum())
        wrong += int((counted & ~hit).sum())
        if hit.any():
            overlap += float(box_iou(boxes[hit], truth['bboxes'][mine]).max(1).sum())
    missed = int((~truth['ignore']).sum()) - found
    total = found + missed / 2 + wrong / 2
    return overlap / total if total else 1.0
