"""Where else in a picture an object could be: where its surroundings look alike (InstaBoost, arXiv 1908.07801, 3.3)."""

import cv2
import numpy as np

_SIDE = 160  # pixels of the longer side; places are looked for in a small picture, as in the paper
_RING = 3  # pixels of a ring around the object there
_WEIGHTS = (0.4, 0.35, 0.25)  # of the rings, from the innermost on
_LEAST = 1e-3  # of the range of distances, so that the best place isn't infinitely warm


def draw_similar_shift(img: np.ndarray, bitmap: np.ndarray) -> tuple[float, float]:
    """Draw a shift of an object, by the appearance consistency heatmap.

    Args:
        img: (h, w, 3) uint8, in which the hole of the object is filled.
        bitmap: (h, w) bool or uint8, the object's pixels.

    Returns:
        x and y in pixels; (0, 0) where the object has no other place.
    """
    factor = min(_SIDE / max(bitmap.shape), 1.0)
    small = cv2.resize(img, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.float32)
    covered = cv2.resize(bitmap.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA)
    weights = _rings(covered > 0)
    if not weights.any():
        return 0.0, 0.0
    rows = np.flatnonzero(weights.any(1))
    columns = np.flatnonzero(weights.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # squared, so that OpenCV's search does it; places of which a ring would leave the picture are none
    distances = cv2.matchTemplate(small, small[window], cv2.TM_SQDIFF, mask=np.sqrt(weights[window]))
    y, x = _draw(heatmap(distances))
    return float(x - columns[0]) / factor, float(y - rows[0]) / factor


def heatmap(distances: np.ndarray) -> np.ndarray:
    """-log of distances (h, w) scaled to 0..1: warm where they are small, 0 where they are largest."""
    low = float(distances.min())
    high = float(distances.max())
    if not high > low:
        return np.ones(distances.shape)
    return -np.log(np.maximum((distances.astype(np.float64) - low) / (high - low), _LEAST))


def _rings(covered: np.ndarray) -> np.ndarray:
    """(h, w) float32, the weight of each pixel around an object (h, w) bool."""
    weights = np.zeros(covered.shape, np.float32)
    inside = covered.astype(np.uint8)
    for weight in _WEIGHTS:
        grown = cv2.dilate(inside, np.ones((2 * _RING + 1,) * 2, np.uint8))
        weights[(grown > 0) & (inside == 0)] = weight
        inside = grown
    return weights


def _draw(heat: np.ndarray) -> tuple[int, int]:
    index = np.random.choice(heat.size, p=(heat / heat.sum()).ravel())
    row, column = np.unravel_index(index, heat.shape)
    return int(row), int(column)
