"""Overlap of predicted and annotated classes of pixels, over a data set."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PixelCounts:
    """Numbers of pixels of each class, (num_classes,); pixels without annotation count nowhere.

    Args:
        right: Predicted and annotated.
        predicted: Predicted.
        annotated: Annotated.
    """

    right: np.ndarray
    predicted: np.ndarray
    annotated: np.ndarray

    def __add__(self, other: 'PixelCounts') -> 'PixelCounts':
        return PixelCounts(self.right + other.right, self.predicted + other.predicted, self.annotated + other.annotated)

    @classmethod
    def zeros(cls, num_classes: int) -> 'PixelCounts':
        """Counts of no image."""
        return cls(*(np.zeros(num_classes, np.int64) for _ in range(3)))


def count_pixels(predicted: np.ndarray, annotated: np.ndarray, num_classes: int, ignore_index: int) -> PixelCounts:
    """Count the pixels of an image.

    Args:
        predicted: (h, w) class of each pixel; one that is no class is wrong.
        annotated: (h, w) class of each pixel.
        num_classes: Number of classes.
        ignore_index: What annotated pixels without a class are.

    Raises:
        ValueError: The maps differ in size, or a pixel is annotated with something else.
    """
    if predicted.shape != annotated.shape:
        raise ValueError(f'predicted classes are of (h, w) = {predicted.shape}, annotated ones of {annotated.shape}')
    known = annotated != ignore_index
    predicted = predicted[known].astype(np.int64)
    annotated = annotated[known].astype(np.int64)
    wrong = annotated[(annotated < 0) | (annotated >= num_classes)]
    if len(wrong):
        raise ValueError(f'a pixel is annotated with {wrong[0]}, expected 0 to {num_classes - 1}, or {ignore_index}')
    predicted_classes = predicted[(predicted >= 0) & (predicted < num_classes)]
    right = annotated[predicted == annotated]
    return PixelCounts(*(np.bincount(p, minlength=num_classes) for p in (right, predicted_classes, annotated)))


def class_scores(counts: PixelCounts, beta: float = 1.0) -> dict[str, np.ndarray]:
    """``IoU``, ``Acc``, ``Dice``, ``Precision``, ``Recall``, ``Fscore`` (num_classes,); NaN for classes not annotated.

    Args:
        counts: Of all images.
        beta: How much more recall weighs than precision in ``Fscore``.
    """
    right = counts.right.astype(np.float64)
    annotated = np.where(counts.annotated > 0, counts.annotated, np.nan)
    recall = right / annotated
    precision = np.where(counts.predicted > 0, right / np.maximum(counts.predicted, 1), 0.0) + 0 * recall
    weighted = beta**2 * precision + recall
    fscore = np.where(
        weighted > 0, (1 + beta**2) * precision * recall / np.where(weighted > 0, weighted, 1), 0 * recall
    )
    return {
        'IoU': right / (counts.predicted + annotated - right),
        'Acc': recall,
        'Dice': 2 * right / (counts.predicted + annotated),
        'Precision': precision,
        'Recall': recall,
        'Fscore': fscore,
    }
