"""Geometry of single polygons."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mmdetlike.structures.mask.run_lengths import bitmap_of_runs, run_lengths


def polygon_area(polygon: np.ndarray) -> float:
    """Area of a flat polygon (x0, y0, x1, y1, ...), by the shoelace formula."""
    xs, ys = np.asarray(polygon, dtype=np.float64).reshape(-1, 2).T
    return 0.5 * abs(float(xs @ np.roll(ys, 1) - ys @ np.roll(xs, 1)))


def polygons_to_bitmap(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Rasterize the union of flat polygons as COCO does.

    Args:
        polygons: Each (x0, y0, x1, y1, ...) in pixels; those of fewer than 3 points cover nothing.
        height: Of the image.
        width: Of the image.

    Returns:
        (height, width) uint8 of 0 and 1.

    Raises:
        ValueError: Coordinates are not finite.
    """
    encoded = encode_polygons(polygons, height, width)
    return np.ascontiguousarray(coco_mask.decode([encoded])[..., 0])


def encode_polygons(polygons: Sequence[np.ndarray], height: int, width: int) -> dict:
    """The run-length encoding, in COCO's form with bytes, of what `polygons_to_bitmap` draws."""
    flat = [_near_image(np.asarray(p, dtype=np.float64), height, width) for p in polygons if len(p) >= 6]
    flat = [polygon.tolist() for polygon in flat if len(polygon) >= 6]  # again: nothing may be left near the image
    if not flat or not height or not width:
        return coco_mask.encode(np.zeros((height, width), dtype=np.uint8, order='F'))
    return coco_mask.merge(coco_mask.frPyObjects(flat, height, width))


def _near_image(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut off what lies far outside the image, since rasterization in C takes memory by the length of the edges.

    The cut is away from the image, so that the edges in the image are drawn as they would be without it.
    """
    if not np.isfinite(polygon).all():
        raise ValueError(f'A polygon has coordinates that are not finite: {polygon.tolist()[:12]}.')
    margin = max(height, width)
    if np.all(np.abs(polygon) <= margin):
        return polygon
    points = polygon.reshape(-1, 2) + margin
    return (clip_polygon(points, (height + 2 * margin, width + 2 * margin)) - margin).ravel()


def rle_to_bitmap(rle: dict) -> np.ndarray:
    """Decode a COCO run-length encoding, compressed or not, to (h, w) uint8 of 0 and 1.

    Raises:
        ValueError: The run lengths are wrong; the message is the reason.
    """
    height, width = (int(side) for side in rle['size'])
    return bitmap_of_runs(run_lengths(rle['counts'], height * width), height, width)


def mask_to_bitmap(mask: Sequence[np.ndarray] | dict, height: int, width: int) -> np.ndarray:
    """Draw the mask of an instance, polygons or a run-length encoding, as (h, w) uint8 of 0 and 1."""
    return rle_to_bitmap(mask) if isinstance(mask, dict) else polygons_to_bitmap(mask, height, width)


def clip_polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut a polygon to an image of (h, w) by the algorithm of Sutherland and Hodgman.

    Where a concave polygon falls apart, its parts stay joined by edges along the border, which have no area.

    Args:
        points: (n, 2).

    Returns:
        (m, 2); m is 0 if nothing lies inside.
    """
    height, width = size
    if len(points) and np.all(points >= 0) and np.all(points <= (width, height)):
        return points
    # one half-plane after the other: right of x = 0, left of x = width, below y = 0, above y = height
    for axis, limit in ((0, width), (1, height)):
        points = _cut(points, axis, 0.0, 1.0)
        points = _cut(points, axis, float(limit), -1.0)
    return points if len(points) and np.all(np.ptp(points, axis=0) > 0) else points[:0]


def _cut(points: np.ndarray, axis: int, border: float, sign: float) -> np.ndarray:
    """Keep the part of a polygon on one side of ``border`` along ``axis``: above it (``sign`` 1) or below it (-1)."""
    if len(points) == 0:
        return points
    depth = sign * (points[:, axis] - border)  # how far each point is on the kept side
    following = np.roll(points, -1, axis=0)
    next_depth = np.roll(depth, -1)
    crosses = (depth < 0) != (next_depth < 0)
    fraction = np.divide(depth, depth - next_depth, out=np.zeros_like(depth), where=crosses)
    crossings = points + fraction[:, None] * (following - points)
    crossings[:, axis] = border  # exactly, whatever rounding has made of it
    # Each point is followed by the crossing of the edge that starts there; which of the two stay?
    kept = np.stack([depth >= 0, crosses], axis=1).ravel()
    return np.stack([points, crossings], axis=1).reshape(-1, 2)[kept]
