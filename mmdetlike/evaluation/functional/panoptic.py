"""Panoptic quality: Panoptic Segmentation, arXiv 1801.00868."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MIN_IOU = 0.5  # no two segments of a map can both overlap a third by more, so that matches are unique


@dataclass(frozen=True)
class PanopticCounts:
    """The counts that panoptic quality is computed from, each (num_classes,).

    Args:
        iou: Sum of the IoU of matched segments.
        tp: Matched segments.
        fp: Predicted segments that match nothing.
        fn: Annotated segments that nothing matches.
    """

    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> 'PanopticCounts':
        """Counts of no image."""
        return cls(np.zeros(num_classes), *(np.zeros(num_classes, np.int64) for _ in range(3)))

    def __add__(self, other: 'PanopticCounts') -> 'PanopticCounts':
        return PanopticCounts(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


def count_segments(
    predicted: np.ndarray,
    predicted_labels: Mapping[int, int],
    truth: np.ndarray,
    truth_labels: Mapping[int, int],
    num_classes: int,
    crowd: Sequence[int] = (),
) -> PanopticCounts:
    """Match the segments of an image: same class and IoU above 0.5, pixels without annotation left out of the union.

    A segment that matches nothing doesn't count as wrong if more than half of it lies where there is no annotation or a
    crowd of its class; a crowd that nothing matches doesn't count as missed.

    Args:
        predicted: Segment of each pixel, (h, w) integers.
        predicted_labels: Class of each predicted segment; pixels of other numbers belong to none.
        truth: Annotated segment of each pixel, (h, w) integers.
        truth_labels: Class of each annotated segment; pixels of other numbers are without annotation.
        num_classes: Number of classes.
        crowd: Annotated segments that are groups of objects.

    Raises:
        ValueError: The maps differ in size.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f'The predicted map is of (h, w) = {predicted.shape}, the annotated one of {truth.shape}.')
    numbers = list(predicted_labels)
    truth_numbers = list(truth_labels)
    labels = np.array([predicted_labels[n] for n in numbers], dtype=np.int64)
    truth_labels = np.array([truth_labels[n] for n in truth_numbers], dtype=np.int64)
    is_crowd = np.isin(truth_numbers, list(crowd))
    overlap = _overlaps(predicted, numbers, truth, truth_numbers)
    areas = overlap.sum(1)[:-1]
    truth_areas = overlap.sum(0)[:-1]
    inside = overlap[:-1, :-1]
    void = overlap[:-1, -1]
    same = labels[:, None] == truth_labels
    # without the pixels of a prediction that nobody has annotated
    union = (areas - void)[:, None] + truth_areas - inside
    iou = np.where(same & ~is_crowd, inside / np.maximum(union, 1), 0)
    matched = iou > MIN_IOU
    excused = void + (inside * (same & is_crowd)).sum(1)
    wrong = ~matched.any(1) & (2 * excused <= areas) & (areas > 0)
    missed = ~matched.any(0) & ~is_crowd & (truth_areas > 0)
    return PanopticCounts(
        iou=np.bincount(labels, (iou * matched).sum(1), num_classes),
        tp=np.bincount(labels[matched.any(1)], minlength=num_classes),
        fp=np.bincount(labels[wrong], minlength=num_classes),
        fn=np.bincount(truth_labels[missed], minlength=num_classes),
    )


def _overlaps(a: np.ndarray, a_numbers: list[int], b: np.ndarray, b_numbers: list[int]) -> np.ndarray:
    """(len(a_numbers) + 1, len(b_numbers) + 1) pixels that segments share; last, those of no segment."""
    rows = _segment_indices(a, a_numbers)
    columns = _segment_indices(b, b_numbers)
    shape = len(a_numbers) + 1, len(b_numbers) + 1
    # a pair of indices as one number: counting pairs takes one pass over the pixels
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def _segment_indices(segments: np.ndarray, numbers: list[int]) -> np.ndarray:
    """The index in ``numbers`` of each pixel's segment, flat; the length of ``numbers`` for segments not in it."""
    index_of = {number: index for index, number in enumerate(numbers)}
    found, inverse = np.unique(segments, return_inverse=True)
    indices = np.array([index_of.get(number, len(numbers)) for number in found.tolist()], np.int64)
    return indices[inverse.reshape(-1)]


def panoptic_quality(counts: PanopticCounts) -> dict[str, np.ndarray]:
    """Quality of each class, all (num_classes,) in 0..1, NaN for classes that are neither annotated nor predicted.

    Returns:
        ``pq``, panoptic quality: the sum of IoU over tp + fp / 2 + fn / 2; ``sq``, segmentation quality: the mean IoU
        of matched segments; ``rq``, recognition quality: the F1 score. pq = sq * rq.
    """
    weight = counts.tp + counts.fp / 2 + counts.fn / 2
    weight = np.where(weight > 0, weight, np.nan)  # a class that doesn't occur has no quality, not one of 0
    sq = np.where(np.isnan(weight), np.nan, counts.iou / np.maximum(counts.tp, 1))
    return {'pq': counts.iou / weight, 'sq': sq, 'rq': counts.tp / weight}
