"""What keeps a detector's precision-recall curve from 1, as https://cocodataset.org/#detection-eval takes it apart.

Seven curves, each with more errors forgiven: C75 and C50 at IoU 0.75 and 0.50; Loc at IoU 0.10, as all that follow;
Sim without confusions of classes of one supercategory; Oth without any confusion of classes; BG without detections of
nothing; FN without missed objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CURVES = ('C75', 'C50', 'Loc', 'Sim', 'Oth', 'BG', 'FN')
# square pixels, from and below
AREAS = {'all': (0.0, 1e10), 'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2), 'large': (96.0**2, 1e10)}
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100  # of a class in an image
_LOOSE = 0.1


@dataclass(frozen=True)
class ImageOverlaps:
    """Detections of an image, the best first, its objects, and how they overlap.

    Attributes:
        scores, labels, areas: (n,) of detections.
        truth_labels, truth_areas: (m,) of objects.
        crowd: (m,) bool, regions that are neither right nor wrong to find and take any number of detections.
        iou: (n, m); with a crowd, the share of the detection that lies in it.
    """

    scores: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    truth_labels: np.ndarray
    truth_areas: np.ndarray
    crowd: np.ndarray
    iou: np.ndarray

    def of(self, found: np.ndarray, truth: np.ndarray) -> 'ImageOverlaps':
        """Those detections and objects that two masks or lists of indices select."""
        rows = (self.scores[found], self.labels[found], self.areas[found])
        columns = (self.truth_labels[truth], self.truth_areas[truth], self.crowd[truth])
        return ImageOverlaps(*rows, *columns, self.iou[found][:, truth])


def match(iou: np.ndarray, threshold: float, ignore: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """The object (n,) that each detection takes, -1 for none, by COCO's rules.

    The best detection chooses first, the object that it overlaps most among those that are free; one to ignore only if
    there is no other.

    Args:
        iou: (n, m), the best detection first.
        threshold: Least overlap.
        ignore: (m,) bool.
        crowd: (m,) bool, which stay free.
    """
    taken = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], bool)
    near = iou >= threshold
    for row in np.flatnonzero(near.any(1)):
        usable = near[row] & free
        counted = usable & ~ignore
        choice = np.flatnonzero(counted if counted.any() else usable)
        if len(choice):
            # of equals the last one, as in COCO's own loop
            best = choice[::-1][iou[row, choice[::-1]].argmax()]
            taken[row] = best
            free[best] = crowd[best]
    return taken


def precision_at_recalls(scores: np.ndarray, hits: np.ndarray, total: int, recalls: np.ndarray = RECALLS) -> np.ndarray:
    """(101,) precision at recall 0, 0.01 ... 1, the best at this recall or beyond it.

    Args:
        scores: (n,) of detections that count.
        hits: (n,) bool, which are right.
        total: Number of objects, above 0.
        recalls: These 101 numbers, by default as COCO's evaluator computes them: some are a bit above k / 100, so that
            7 of 10 objects don't reach 0.7.
    """
    order = np.argsort(-scores, kind='stable')
    right = np.cumsum(hits[order])
    recall = right / total
    precision = right / np.arange(1, len(order) + 1)
    envelope = np.maximum.accumulate(np.append(precision, 0)[::-1])[::-1]
    return envelope[np.searchsorted(recall, recalls, side='left')]


def class_curves(
    images: Sequence[ImageOverlaps], label: int, supercategories: Sequence[object], area: tuple[float, float]
) -> dict[str, np.ndarray] | None:
    """The seven curves (101,) of a class, by name; None if there are no objects of it.

    Args:
        images: Images with detections or objects of the class; others may be left out.
        label: The class.
        supercategories: Of each class, what is equal for those of one supercategory.
        area: Square pixels of the objects that are looked for, from and below.
    """
    alike = np.array([other == supercategories[label] for other in supercategories])
    everything = np.ones_like(alike)
    nothing = np.zeros_like(alike)
    settings = {
        'C75': (0.75, nothing),
        'C50': (0.5, nothing),
        'Loc': (_LOOSE, nothing),
        'Sim': (_LOOSE, alike),
        'Oth': (_LOOSE, everything),
    }
    pooled = {name: ([], []) for name in settings}
    total = 0
    for image in images:
        own = image.truth_labels == label
        outside = (image.truth_areas < area[0]) | (image.truth_areas >= area[1])
        ignore = ~own | image.crowd | outside
        total += int((~ignore).sum())
        found = np.flatnonzero(image.labels == label)[:MAX_DETECTIONS]
        for name, (threshold, excused) in settings.items() if len(found) else ():
            objects = np.flatnonzero(own | excused[image.truth_labels])
            part = image.of(found, objects)
            hits, counted = _judged(part, threshold, ignore[objects], area)
            pooled[name][0].append(part.scores[counted])
            pooled[name][1].append(hits[counted])
    if not total:
        return None
    curves = {name: _pooled_curve(*columns, total) for name, columns in pooled.items()}
    # without detections of nothing all that remain are right, up to the recall that is reached
    curves['BG'] = (curves['Oth'] > 0).astype(float)
    curves['FN'] = np.ones(len(RECALLS))
    return curves


def _judged(image: ImageOverlaps, threshold: float, ignore: np.ndarray, area: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Which detections (n,) are right, and which count at all."""
    taken = match(image.iou, threshold, ignore, image.crowd)
    hits = np.zeros(len(taken), bool)
    counted = (image.areas >= area[0]) & (image.areas < area[1])
    matched = taken >= 0
    hits[matched] = ~ignore[taken[matched]]
    counted[matched] = hits[matched]
    return hits, counted


def _pooled_curve(scores: list[np.ndarray], hits: list[np.ndarray], total: int) -> np.ndarray:
    scores = np.concatenate(scores) if scores else np.zeros(0)
    hits = np.concatenate(hits) if hits else np.zeros(0, bool)
    return precision_at_recalls(scores, hits, total)
