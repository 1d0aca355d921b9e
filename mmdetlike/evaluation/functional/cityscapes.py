"""Average precision of instances as Cityscapes defines it (arXiv:1604.01685, section 4.3): overlaps of pixels.

Unlike COCO's, precision is not made to fall with recall, and a prediction that mostly lies on pixels or groups to be
ignored doesn't count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# the ids of the classes whose instances are told apart
INSTANCE_CLASSES = {
    'person': 24,
    'rider': 25,
    'car': 26,
    'truck': 27,
    'bus': 28,
    'train': 31,
    'motorcycle': 32,
    'bicycle': 33,
}
# unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, parking, rail track, guard rail,
# bridge, tunnel, polegroup, caravan and trailer without instances
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
# a pixel of instance k of a class has the value 1000 * class + k, one of a group of them the value class
PER_CLASS = 1000
MIN_PIXELS = 100  # smaller objects are ignored
OVERLAPS = tuple(np.arange(0.5, 1.0, 0.05))


@dataclass
class PredictedMask:
    """What evaluation needs of a predicted mask of an image.

    Attributes:
        score: Its score.
        pixels: Its size.
        void: How many of its pixels are to be ignored.
        shared: How many of its pixels each annotated instance of its class has, by instance id.
    """

    score: float
    pixels: int
    void: int
    shared: dict[int, int]


@dataclass
class ImageMatches:
    """What is annotated and predicted of one class in an image.

    Attributes:
        objects: Pixels of each annotated instance, by its id; ids below 1000 are groups.
        predicted: The predicted masks.
    """

    objects: dict[int, int]
    predicted: list[PredictedMask]


def match_image(ids: np.ndarray, masks: Sequence[np.ndarray], class_ids: np.ndarray, scores: np.ndarray) -> dict:
    """``ImageMatches`` of each class of an image, by the class's id.

    Args:
        ids: (h, w) annotated instance ids.
        masks: (h, w) bool each.
        class_ids: (n,) ids of their classes.
        scores: (n,).
    """
    present, counts = np.unique(ids, return_counts=True)
    sizes = dict(zip(present.tolist(), counts.tolist()))
    is_void = np.isin(ids, VOID)
    result = {}
    for class_id in INSTANCE_CLASSES.values():
        objects = {i: n for i, n in sizes.items() if class_id in (i, i // PER_CLASS)}
        chosen = [k for k in np.flatnonzero(class_ids == class_id) if masks[k].any()]
        found = [_predicted(ids, is_void, masks[k], float(scores[k]), objects) for k in chosen]
        result[class_id] = ImageMatches(objects, found)
    return result


def _predicted(ids: np.ndarray, is_void: np.ndarray, mask: np.ndarray, score: float, objects: dict) -> PredictedMask:
    below = ids[mask]
    present, counts = np.unique(below, return_counts=True)
    shared = {i: n for i, n in zip(present.tolist(), counts.tolist()) if i in objects}
    return PredictedMask(score, len(below), int(is_void[mask].sum()), shared)


def average_precision(images: Sequence[ImageMatches], overlap: float) -> float:
    """Average precision of a class at one overlap; NaN without an annotated instance.

    Args:
        images: The class in each image.
        overlap: How much a prediction and its instance must overlap, more than that.
    """
    rows = [_decide(image, overlap) for image in images]
    num_objects = sum(len(_instances(image)) for image in images)
    scores = np.concatenate([scores for scores, _, _ in rows] or [np.zeros(0)])
    is_right = np.concatenate([is_right for _, is_right, _ in rows] or [np.zeros(0)])
    num_missed = sum(missed for _, _, missed in rows)
    if num_objects == 0:
        return float('nan')
    if not any(image.predicted for image in images):
        return 0.0
    return _area(scores, is_right, num_missed)


def _instances(image: ImageMatches) -> dict[int, int]:
    return {i: n for i, n in image.objects.items() if i >= PER_CLASS and n >= MIN_PIXELS}


def _decide(image: ImageMatches, overlap: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of what counts in an image, 1 for right and 0 for wrong, and how many instances nothing was found of."""
    right = []
    wrong = []
    instances = _instances(image)
    missed = 0
    for i, size in instances.items():
        hits = [p.score for p in image.predicted if _iou(p, i, size) > overlap]
        if hits:
            # several predictions of one instance: the best is right
            right.append(max(hits))
            wrong += sorted(hits)[:-1]
        else:
            missed += 1
    for p in image.predicted:
        if any(_iou(p, i, image.objects[i]) > overlap for i in p.shared if i in instances):
            continue
        if any(_iou(p, i, image.objects[i]) > overlap for i in p.shared):
            continue  # a small instance or a group as a whole
        ignored = p.void
        for i, count in p.shared.items():
            # a group that is small counts twice, as in the official script
            ignored += count * ((i < PER_CLASS) + (image.objects[i] < MIN_PIXELS))
        if ignored / p.pixels <= overlap:
            wrong.append(p.score)
    is_right = np.r_[np.ones(len(right)), np.zeros(len(wrong))]
    return np.r_[np.array(right), np.array(wrong)], is_right, missed


def _iou(predicted: PredictedMask, instance: int, size: int) -> float:
    shared = predicted.shared.get(instance, 0)
    return shared / (size + predicted.pixels - shared)


def _area(scores: np.ndarray, is_right: np.ndarray, num_missed: int) -> float:
    """The area below precision over recall, each step as wide as the mean of those beside it."""
    if len(scores) == 0:
        return 0.0
    order = np.argsort(scores, kind='stable')
    right_below = np.r_[0, np.cumsum(is_right[order])]  # how many right ones are below each
    _, starts = np.unique(scores[order], return_index=True)
    kept_right = is_right.sum() - right_below[starts]
    kept = len(scores) - starts
    precision = np.r_[kept_right / kept, 1.0]
    recall = np.r_[kept_right / np.maximum(is_right.sum() + num_missed, 1), 0.0]
    around = np.r_[recall[0], recall, 0.0]
    widths = (around[:-2] - around[2:]) / 2
    return float(precision @ widths)
