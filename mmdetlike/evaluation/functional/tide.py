"""TIDE: A General Toolbox for Identifying Object Detection Errors, arXiv 2008.08115.

Each detection that is wrong, and each object that is missed, has one error; what mending all errors of a kind would add
to the average precision at IoU 0.5 says how much that kind matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .coco_errors import MAX_DETECTIONS, ImageOverlaps, match, precision_at_recalls

# of detections, in the order in which they are tried: the first that fits is the error
ERRORS = ('Loc', 'Cls', 'Dupe', 'Bkg', 'Both')
MAIN_ERRORS = ('Cls', 'Loc', 'Both', 'Dupe', 'Bkg', 'Miss')
FOREGROUND = 0.5
BACKGROUND = 0.1
_RIGHT = 'right'


@dataclass(frozen=True)
class Judged:
    """Detections of all images with their errors, and the objects.

    Attributes:
        scores, labels: (n,).
        kinds: (n,) of text: 'right', or one of ``ERRORS``; detections on crowds are left out.
        targets: (n,) index of the object that a detection takes or, with another class or box, would take; -1 for none.
        object_labels: (m,), objects to ignore left out.
    """

    scores: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    object_labels: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """(m,) bool: neither found nor the target of a detection with a wrong class or box."""
        reached = np.isin(self.kinds, (_RIGHT, 'Cls', 'Loc'))
        return ~np.isin(np.arange(len(self.object_labels)), self.targets[reached])


def judge(images: Sequence[ImageOverlaps], foreground: float = FOREGROUND, background: float = BACKGROUND) -> Judged:
    """Find the error of each detection.

    Args:
        images: What was found and what is there; the best 100 detections of each class count.
        foreground: Overlap from which on an object counts as found.
        background: Overlap up to which a detection is one of nothing.
    """
    columns = [_judge_image(image.of(*_considered(image)), foreground, background) for image in images]
    offsets = np.cumsum([0, *(len(column.object_labels) for column in columns)])
    targets = [np.where(c.targets >= 0, c.targets + offset, -1) for c, offset in zip(columns, offsets)]
    joined = {
        name: np.concatenate([getattr(column, name) for column in columns])
        for name in ('scores', 'labels', 'kinds', 'object_labels')
    }
    return Judged(**joined, targets=np.concatenate(targets))


def _considered(image: ImageOverlaps) -> tuple[np.ndarray, np.ndarray]:
    ranks = np.zeros(len(image.labels), int)
    for label in np.unique(image.labels):
        own = image.labels == label
        ranks[own] = np.arange(own.sum())
    return ranks < MAX_DETECTIONS, np.ones(len(image.truth_labels), bool)


def _judge_image(image: ImageOverlaps, foreground: float, background: float) -> Judged:
    same = image.labels[:, None] == image.truth_labels
    taken = match(np.where(same, image.iou, -1), foreground, image.crowd, image.crowd)
    right = (taken >= 0) & ~np.append(image.crowd, False)[taken]
    on_crowd = ((taken >= 0) & ~right) | _mostly_in_crowd(image, same, foreground)
    objects = np.flatnonzero(~image.crowd)
    iou = image.iou[:, objects]
    same = same[:, objects]
    numbers = np.full(len(image.crowd) + 1, -1)
    numbers[objects] = np.arange(len(objects))
    is_taken = np.isin(np.arange(len(objects)), numbers[taken[right]])
    kinds, targets = _errors(iou, same, is_taken, foreground, background)
    kinds[right] = _RIGHT
    targets[right] = numbers[taken[right]]
    kept = right | ~on_crowd
    return Judged(image.scores[kept], image.labels[kept], kinds[kept], targets[kept], image.truth_labels[objects])


def _mostly_in_crowd(image: ImageOverlaps, same: np.ndarray, foreground: float) -> np.ndarray:
    inside = np.where(same & image.crowd, image.iou, 0)
    return inside.max(1, initial=0) >= foreground


def _errors(
    iou: np.ndarray, same: np.ndarray, is_taken: np.ndarray, foreground: float, background: float
) -> tuple[np.ndarray, np.ndarray]:
    """The kind (n,) of each detection's error if it is wrong, and the object (n,) that it would take.

    Args:
        iou: (n, m) with all objects.
        same: (n, m) bool, objects of the detection's class.
        is_taken: (m,) bool, objects that a right detection has.
        foreground, background: As in ``judge``.
    """
    own = np.where(same, iou, 0)
    other = np.where(same, 0, iou)
    best = {'Loc': _best(own), 'Cls': _best(other), 'Dupe': _best(own * is_taken), 'Bkg': _best(iou)}
    overlap = {name: value for name, (value, _) in best.items()}
    fits = {
        'Loc': (overlap['Loc'] >= background) & (overlap['Loc'] <= foreground),
        'Cls': overlap['Cls'] >= foreground,
        'Dupe': overlap['Dupe'] >= foreground,
        'Bkg': overlap['Bkg'] <= background,
    }
    kinds = np.full(len(iou), 'Both', dtype='U7')
    targets = np.full(len(iou), -1)
    for name in reversed(fits):
        kinds[fits[name]] = name
        targets[fits[name]] = best[name][1][fits[name]] if name in ('Loc', 'Cls') else -1
    return kinds, targets


def _best(iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest overlap (n,) of each detection, and with which object (n,)."""
    if not iou.shape[1]:
        return np.zeros(len(iou)), np.full(len(iou), -1)
    return iou.max(1), iou.argmax(1)


def average_precision(scores: np.ndarray, labels: np.ndarray, hits: np.ndarray, objects: np.ndarray) -> float:
    """The mean over classes of COCO's average precision at one IoU; classes without objects are left out.

    Args:
        scores, labels, hits: (n,) of detections.
        objects: (number of classes,) numbers of objects.
    """
    known = np.flatnonzero(objects > 0)
    values = []
    for label in known:
        own = labels == label
        values.append(precision_at_recalls(scores[own], hits[own], int(objects[label])).mean())
    return float(np.mean(values)) if values else 0.0


def breakdown(judged: Judged, num_classes: int) -> dict[str, float]:
    """AP, and what mending each kind of error alone would add to it.

    The oracles are the paper's (section 2.2): 'Cls' and 'Loc' put the detection right, the lower-scoring one of two on
    an object being dropped; 'Both', 'Dupe' and 'Bkg' drop it; 'Miss' takes the missed objects off the number to find.
    'FP' drops all wrong detections, 'FN' asks only for objects that were found.

    Args:
        judged: From ``judge``.
        num_classes: Number of classes.

    Returns:
        ``AP``, then the gains of ``MAIN_ERRORS``, ``FP`` and ``FN``, all from 0 to 1.
    """
    objects = np.bincount(judged.object_labels, minlength=num_classes)
    hits = judged.kinds == _RIGHT
    base = average_precision(judged.scores, judged.labels, hits, objects)
    scores = {'AP': base}
    for kind in MAIN_ERRORS:
        scores[kind] = _mended(judged, kind, objects) - base
    found = np.bincount(judged.labels[hits], minlength=num_classes)
    scores['FP'] = average_precision(judged.scores[hits], judged.labels[hits], hits[hits], objects) - base
    # a class none of whose objects is found has no precision of its own: nothing is gained there
    asked = np.where((found == 0) & (objects > 0), objects, found)
    scores['FN'] = average_precision(judged.scores, judged.labels, hits, asked) - base
    return scores


def _mended(judged: Judged, kind: str, objects: np.ndarray) -> float:
    """AP with all errors of a kind mended."""
    hits = judged.kinds == _RIGHT
    if kind == 'Miss':
        missed = np.bincount(judged.object_labels[judged.missed], minlength=len(objects))
        return average_precision(judged.scores, judged.labels, hits, objects - missed)
    wrong = judged.kinds == kind
    labels = judged.labels.copy()
    keep = np.ones(len(wrong), bool)
    if kind in ('Cls', 'Loc'):
        labels[wrong] = judged.object_labels[judged.targets[wrong]]
        hits = hits | wrong
        keep = ~_lower_duplicates(judged, hits)
    else:
        keep = ~wrong
    return average_precision(judged.scores[keep], labels[keep], hits[keep], objects)


def _lower_duplicates(judged: Judged, hits: np.ndarray) -> np.ndarray:
    """(n,) bool: detections that are right, but on an object that another one has with a higher score."""
    order = np.flatnonzero(hits)
    order = order[np.argsort(-judged.scores[order], kind='stable')]
    _, first = np.unique(judged.targets[order], return_index=True)
    lower = hits.copy()
    lower[order[first]] = False
    return lower


def count_errors(judged: Judged) -> dict[str, int]:
    """How many errors of each kind there are."""
    counts = {kind: int((judged.kinds == kind).sum()) for kind in MAIN_ERRORS}
    counts['Miss'] = int(judged.missed.sum())
    return counts
