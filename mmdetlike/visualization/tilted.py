"""Outlines of rotated boxes."""

from collections.abc import Sequence

import numpy as np
import torch

from mmdetlike.structures.bbox import geometry

from .palette import Color

_RIM_COLOR = (40, 40, 40)
_SUBPIXEL_BITS = 4  # OpenCV takes fractions of a pixel as fixed-point numbers


def draw_tilted_boxes(
    canvas: np.ndarray, boxes: np.ndarray, colors: Sequence[Color], line_width: int, dashed: bool = False
) -> None:
    """Draw the outlines of rotated boxes, with a dark rim, onto ``canvas`` itself.

    Args:
        canvas: (h, w, 3) uint8.
        boxes: (n, 5) x, y, width, height in pixels, angle in radians; those that are not finite are left out.
        colors: One color a box.
        line_width: In pixels.
        dashed: Draw dashes of the color on a dark line.
    """
    polygons = geometry.corners(torch.from_numpy(boxes)).numpy()
    shown = [(polygon, color) for polygon, color in zip(polygons, colors) if _is_drawable(polygon)]
    rim = (line_width + 1) // 3
    for polygon, _ in shown:
        _draw_lines(canvas, [_closed(polygon)], _RIM_COLOR, line_width + 2 * rim)
    for polygon, color in shown:
        lines = _dashes(polygon, 4 * line_width) if dashed else [_closed(polygon)]
        _draw_lines(canvas, lines, color, line_width)


def _is_drawable(polygon: np.ndarray) -> bool:
    """Whether its corners are finite and no further away than OpenCV can count."""
    return bool(np.isfinite(polygon).all() and np.abs(polygon).max() < 2**20)


def _draw_lines(canvas: np.ndarray, lines: Sequence[np.ndarray], color: Color, line_width: int) -> None:
    import cv2

    # a pixel's middle lies half a pixel beyond its coordinate
    fixed = [np.round((line - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32) for line in lines]
    cv2.polylines(canvas, fixed, False, color, line_width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _closed(polygon: np.ndarray) -> np.ndarray:
    return np.concatenate([polygon, polygon[:1]])


def _dashes(polygon: np.ndarray, length: float) -> list[np.ndarray]:
    """Lines (2, 2) of about ``length`` pixels along the sides of a polygon, with gaps as long between them."""
    dashes = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0)):
        count = max(round(np.linalg.norm(end - start) / (2 * length)), 1)
        for step in np.arange(count) / count:
            dashes.append(np.stack([start + (end - start) * step, start + (end - start) * (step + 0.5 / count)]))
    return dashes
