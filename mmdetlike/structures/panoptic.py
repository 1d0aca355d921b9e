"""Panoptic segmentations as maps of segment numbers, and how they are stored as pictures (arXiv 1801.00868).

A predicted segment is numbered ``class + INSTANCE_OFFSET * instance``, instances of things counting from 1; stuff has
instance 0, and the class ``num_classes`` means no segment.
"""

import numpy as np

INSTANCE_OFFSET = 1000


def colors_to_ids(colors: np.ndarray) -> np.ndarray:
    """Segment numbers (h, w) int32, R + 256 G + 65536 B, of a picture (h, w, 3) uint8 in the order R, G, B."""
    return colors.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32)


def ids_to_colors(ids: np.ndarray) -> np.ndarray:
    """The picture (h, w, 3) uint8, R, G, B, that stores segment numbers (h, w) in [0, 2**24)."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f'segment numbers must be in [0, {1 << 24}), got {ids.min()} to {ids.max()}')
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)


def predicted_classes(ids: np.ndarray, num_classes: int) -> dict[int, int]:
    """The class of each segment in a predicted map (h, w), without pixels that belong to none.

    Raises:
        ValueError: A class is above ``num_classes``.
    """
    classes = {number: number % INSTANCE_OFFSET for number in np.unique(ids).tolist()}
    highest = max(classes.values(), default=0)
    if highest > num_classes:
        raise ValueError(
            f'Predicted segments have class {highest}, but the dataset has only {num_classes} classes: '
            f'num_things_classes + num_stuff_classes of the model and metainfo of the dataset disagree.'
        )
    return {number: label for number, label in classes.items() if label < num_classes}
