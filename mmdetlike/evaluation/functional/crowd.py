"""Scores of CrowdHuman (arXiv:1805.00123; the Jaccard index: arXiv:2003.09163): AP, miss rate and Jaccard index.

The definitions are those of the evaluation code that the authors of CrowdDet published, its constants included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_EPSILON = 1e-6
# false positives in an image at which the miss rate is taken, evenly spaced in the logarithm (arXiv:1304.2213)
MISS_RATE_POINTS = {
    'CALTECH_-2': (0.0100, 0.0178, 0.03160, 0.0562, 0.1000, 0.1778, 0.3162, 0.5623, 1.000),
    'CALTECH_-4': (0.0001, 0.0003, 0.00100, 0.0032, 0.0100, 0.0316, 0.1000, 0.3162, 1.000),
}


@dataclass
class CrowdImage:
    """An image.

    Attributes:
        found: (n, 4) predicted xyxy boxes in pixels.
        scores: (n,) their scores.
        boxes: (m, 4) annotated boxes.
        ignore: (m,) bool, regions whose content is neither right nor wrong to find.
    """

    found: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    ignore: np.ndarray

    def clipped(self, height: int, width: int) -> 'CrowdImage':
        """The same with boxes cut off at the border of the image, as people in crowds reach over it."""
        found = _clip(self.found, height, width)
        boxes = _clip(self.boxes, height, width)
        return CrowdImage(found, self.scores, boxes, self.ignore)


def _clip(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    # the first corner lies on a pixel, the second one may lie on the border
    highest = np.array([width - 1, height - 1, width, height], dtype=np.float64)
    return np.clip(np.asarray(boxes, dtype=np.float64), 0, highest)


def overlaps(found: np.ndarray, boxes: np.ndarray, of_found: bool = False) -> np.ndarray:
    """(n, m) intersection over union of xyxy boxes, or over the area of ``found`` alone."""
    top_left = np.maximum(found[:, None, :2], boxes[None, :, :2])
    bottom_right = np.minimum(found[:, None, 2:], boxes[None, :, 2:])
    intersection = np.clip(bottom_right - top_left, 0, None).prod(-1)
    area_found = (found[:, 2:] - found[:, :2]).prod(-1)[:, None]
    if of_found:
        return intersection / (area_found + _EPSILON)
    area_boxes = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[None]
    return intersection / (area_found + area_boxes - intersection + _EPSILON)


def match_image(image: CrowdImage, iou_thr: float, takes_best_only: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Match the boxes of an image: scores of those that count, best first, and a mask of those that hit a person.

    A box takes the free person it overlaps most. One that takes nobody doesn't count if most of it lies in a region to
    ignore.

    Args:
        image: Predictions and ground truth.
        iou_thr: Overlap above which a box hits.
        takes_best_only: Compare a box with the person it overlaps most, free or taken, as VOC does.
    """
    order = np.argsort(-image.scores, kind='stable')
    found = image.found[order]
    iou = overlaps(found, image.boxes[~image.ignore])
    in_ignored = (overlaps(found, image.boxes[image.ignore], of_found=True) > iou_thr).any(1)
    hits = np.zeros(len(found), bool)
    free = np.ones(iou.shape[1], bool)
    for row, values in enumerate(iou):
        candidates = values if takes_best_only else np.where(free, values, -1)
        best = candidates.argmax() if len(candidates) else None
        if best is not None and candidates[best] > iou_thr and free[best]:
            hits[row] = True
            free[best] = False
    counts = hits | ~in_ignored
    return image.scores[order][counts], hits[counts]


def ranked_hits(images: Sequence[CrowdImage], iou_thr: float, takes_best_only: bool = False) -> np.ndarray:
    """Mask (n,), best first, of the boxes that hit a person, among those of all images that count."""
    matches = [match_image(image, iou_thr, takes_best_only) for image in images]
    scores = np.concatenate([np.zeros(0), *(scores for scores, _ in matches)])
    hits = np.concatenate([np.zeros(0, bool), *(hits for _, hits in matches)])
    return hits[np.argsort(-scores, kind='stable')]


def average_precision(hits: np.ndarray, total: int) -> float:
    """Area below the curve of precision over recall, by trapezoids from the first detection on.

    Args:
        hits: (n,) bool, best first.
        total: Number of persons.
    """
    if not len(hits) or not total:
        return 0.0
    right = np.cumsum(hits)
    recalls = right / total
    precisions = right / np.arange(1, len(hits) + 1)
    means = (precisions[1:] + precisions[:-1]) / 2
    return float((np.diff(recalls) * means).sum())


def log_average_miss_rate(hits: np.ndarray, total: int, num_images: int, points: Sequence[float]) -> float:
    """Geometric mean of the miss rates at given numbers of false positives an image (lower is better).

    Args:
        hits: (n,) bool, best first.
        total: Number of persons.
        num_images: Number of images.
        points: False positives an image; where a detector has fewer, all its boxes count.
    """
    if not len(hits) or not total:
        return 1.0
    missed = 1 - np.cumsum(hits) / total
    per_image = np.cumsum(~hits) / num_images
    indices = np.minimum(np.searchsorted(per_image, points), len(hits) - 1)
    with np.errstate(divide='ignore'):  # nobody missed: the mean is zero
        return float(np.exp(np.log(missed[indices]).mean()))


def jaccard_index(images: Sequence[CrowdImage], iou_thr: float, score_thr: float) -> float:
    """Matched pairs over all boxes and persons (pairs once), mean over images.

    Args:
        images: Predictions and ground truth.
        iou_thr: Overlap from which on a box and a person can be a pair; as many pairs as possible are made.
        score_thr: Boxes of a lower score are left out.
    """
    values = [_jaccard(image, iou_thr, score_thr) for image in images]
    return float(np.mean(values)) if values else 0.0


def _jaccard(image: CrowdImage, iou_thr: float, score_thr: float) -> float:
    # here, as this third of a second would be every import's of the metrics
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    found = image.found[image.scores >= score_thr]
    persons = image.boxes[~image.ignore]
    pairs = maximum_bipartite_matching(csr_matrix(overlaps(found, persons) >= iou_thr), perm_type='column')
    unmatched = found[pairs < 0]
    ignored = (overlaps(unmatched, image.boxes[image.ignore], of_found=True) > iou_thr).any(1).sum()
    matched = len(found) - len(unmatched)
    return matched / (len(persons) + len(found) - ignored - matched + _EPSILON)
