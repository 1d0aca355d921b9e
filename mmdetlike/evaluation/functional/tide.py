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
# exact, unlike those of COCO's evaluator: seven of ten objects reach a recall of 0.7
RECALLS = np.arange(101) / 100


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


def average_precision(
    scores: np.ndarray, labels: np.ndarray, hits: np.ndarray, objects: np.ndarray, classes: np.ndarray
) -> float:
    """The mean over classes of the average precision at one IoU, at 101 recalls as COCO's.

    Args:
        scores, labels, hits: (n,) of detections.
        objects: (number of classes,) numbers of objects to find.
        classes: Labels of the classes to look at. One with nothing to find counts 0 if something is detected of it,
            and is left out else.
    """
    values = []
    for label in classes:
        own = labels == label
        total = int(objects[label])
        if total:
            values.append(precision_at_recalls(scores[own], hits[own], total, RECALLS).mean())
        elif own.any():
            values.append(0.0)
    return float(np.mean(values)) if values else 0.0


def breakdown(judged: Judged, num_classes: int) -> dict[str, float]:
    """AP, and what mending each kind of error alone would add to it.

    The oracles are the paper's (section 2.2): 'Cls' and 'Loc' put the detection right, or drop it where another one has
    its object; 'Both', 'Dupe' and 'Bkg' drop it; 'Miss' takes the missed objects off the number to find. 'FP' drops all
    wrong detections, 'FN' asks only for objects that were found. Numbers are those of tidecv 1.0.1, but for classes
    without any object, which COCO leaves out of the mean, while tidecv counts them 0 if something is detected of them.

    Args:
        judged: From ``judge``.
        num_classes: Number of classes.

    Returns:
        ``AP``, then the gains of ``MAIN_ERRORS``, ``FP`` and ``FN``, all from 0 to 1.
    """
    objects = np.bincount(judged.object_labels, minlength=num_classes)
    classes = np.flatnonzero(objects)  # as for COCO, others are none
    hits = judged.kinds == _RIGHT

    def precision(keep: np.ndarray, asked: np.ndarray) -> float:
        return average_precision(judged.scores[keep], judged.labels[keep], hits[keep], asked, classes)

    everything = np.ones(len(hits), bool)
    base = precision(everything, objects)
    scores = {'AP': base}
    for kind in ('Cls', 'Loc'):
        scores[kind] = _with_mended(judged, kind, objects, classes) - base
    for kind in ('Both', 'Dupe', 'Bkg'):
        scores[kind] = precision(judged.kinds != kind, objects) - base
    missed = np.bincount(judged.object_labels[judged.missed], minlength=num_classes)
    scores['Miss'] = precision(everything, objects - missed) - base
    scores['FP'] = precision(hits, objects) - base
    scores['FN'] = precision(everything, np.bincount(judged.labels[hits], minlength=num_classes)) - base
    return scores


def _with_mended(judged: Judged, kind: str, objects: np.ndarray, classes: np.ndarray) -> float:
    """AP with all errors of a kind, 'Cls' or 'Loc', put right, or dropped where that would make a duplicate."""
    mended = _mendable(judged) & (judged.kinds == kind)
    keep = mended | (judged.kinds != kind)
    labels = judged.labels.copy()
    labels[mended] = judged.object_labels[judged.targets[mended]]
    hits = mended | (judged.kinds == _RIGHT)
    return average_precision(judged.scores[keep], labels[keep], hits[keep], objects, classes)


def _mendable(judged: Judged) -> np.ndarray:
    """(n,) bool: detections that would be right with another class or box.

    It is the best one of those on an object, if no right detection has it. The paper drops the lower-scoring one of two
    on an object; its code, tidecv, drops the wrong one, whatever the scores, where the other was right from the
    start, and lets an object be won only once by wrong classes and boxes together. So do we.
    """
    free = ~np.isin(judged.targets, judged.targets[judged.kinds == _RIGHT])
    candidates = np.flatnonzero(np.isin(judged.kinds, ('Cls', 'Loc')) & free)
    candidates = candidates[np.argsort(-judged.scores[candidates], kind='stable')]
    _, first = np.unique(judged.targets[candidates], return_index=True)
    mendable = np.zeros(len(judged.kinds), bool)
    mendable[candidates[first]] = True
    return mendable


def count_errors(judged: Judged) -> dict[str, int]:
    """How many errors of each kind there are."""
    counts = {kind: int((judged.kinds == kind).sum()) for kind in MAIN_ERRORS}
    counts['Miss'] = int(judged.missed.sum())
    return counts
