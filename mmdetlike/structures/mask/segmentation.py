"""Reading masks of annotation files and results, which are checked before any C code sees them."""

import math
from collections.abc import Iterator, Sequence
from numbers import Real
from operator import mul, sub
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from mmdetlike.structures.mask.polygon import encode_polygons
from mmdetlike.structures.mask.run_lengths import LARGEST_MASK, run_lengths

LARGEST_SIDE = 10**6  # pixels; C takes memory by the length of a polygon's edges
LARGEST_COORDINATE = 1e9  # pixels; what is farther away is an error of the file
_POINTS = 3  # that a polygon needs at least to cover anything
_BATCH = 10_000  # masks whose polygons are looked at together; more would take more memory
_THIN = 2  # pixels; whatever is wider covers the center of a pixel


class Segmentation(NamedTuple):
    """A mask as read.

    Attributes:
        mask: A list of flat polygons [x0, y0, x1, y1, ...], or ``dict(size=[height, width], counts=...)`` with counts
            as a list of ints or COCO's text; None if there is no mask.
        problem: Why there is none although something was given, or what was left out; empty if all is well.
    """

    mask: list | dict | None
    problem: str = ''


def read_segmentation(value: object, height: int, width: int) -> Segmentation:
    """Check a ``segmentation`` of an image, and bring it into one of two forms.

    Polygons are a list of them, or a single one; each is a flat list of numbers or a list of [x, y]. Run lengths are a
    dict of ``size`` and ``counts``, these as whole numbers or as COCO's text. None, [] and [[]] mean no mask.

    Polygons of fewer than 3 points cover nothing and are left out beside others. Whatever else cannot be read makes
    the whole mask unusable, as a part of it would be wrong in silence.

    Args:
        value: What the file or the result says.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """
    try:
        if value is None or (_is_list(value) and all(_is_list(part) and not len(part) for part in value)):
            return Segmentation(None)
        _check_pixels(height, width)
        if isinstance(value, dict):
            return Segmentation(_read_runs_of_image(value, height, width))
        if _is_list(value):
            return _read_polygons(value, height, width)
        raise ValueError('neither polygons nor run lengths')
    except ValueError as error:
        return Segmentation(None, str(error))


def read_segmentations(values: Sequence[object], sizes: Sequence[tuple[int, int]]) -> Iterator[Segmentation]:
    """What ``read_segmentation`` gives for each of many, in about a third of the time.

    Args:
        values: What the file says of each mask.
        sizes: (height, width) of the image of each, in pixels.
    """
    for start in range(0, len(values), _BATCH):
        batch = values[start : start + _BATCH]
        sizes_of_batch = sizes[start : start + _BATCH]
        for value, size, plain in zip(batch, sizes_of_batch, _are_plain(batch, sizes_of_batch)):
            yield Segmentation([polygon.tolist() for polygon in value]) if plain else read_segmentation(value, *size)


def _are_plain(values: Sequence[object], sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """(n,) bool, whether masks are polygons that have passed all checks; the others are to be checked one by one."""
    plain = np.array([_may_be_plain(value, *size) for value, size in zip(values, sizes)], dtype=bool)
    rows = np.flatnonzero(plain)
    if not len(rows):
        return plain
    counts = [len(values[row]) for row in rows]
    polygons = [polygon for row in rows for polygon in values[row]]
    sizes_of_polygons = np.repeat(np.array([sizes[row] for row in rows], dtype=np.float64), counts, axis=0)
    first_of_each = np.cumsum([0, *counts[:-1]])
    with np.errstate(all='ignore'):  # infinite and huge coordinates are told by the check of each mask
        passed = _lie_inside_and_are_wide(polygons, sizes_of_polygons)
    plain[rows] = np.logical_and.reduceat(passed, first_of_each)
    return plain


def _may_be_plain(value: object, height: int, width: int) -> bool:
    """Whether a mask is a list of flat arrays of 3 or more points, so that their numbers remain to be looked at."""
    small = height * width <= LARGEST_MASK and max(height, width) <= LARGEST_SIDE
    return (
        small
        and type(value) is list
        and len(value) > 0
        and all(
            type(part) is np.ndarray
            and part.ndim == 1
            and part.dtype.kind in 'if'
            and len(part) >= 2 * _POINTS
            and len(part) % 2 == 0
            for part in value
        )
    )


def _lie_inside_and_are_wide(polygons: Sequence[np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """(n,) bool, whether polygons lie in images of (n, 2) height and width and aren't thin, see ``_is_thin``."""
    counts = np.array([len(polygon) // 2 for polygon in polygons])
    first = np.cumsum(counts) - counts
    last = first + counts - 1
    x, y = np.concatenate(polygons).astype(np.float64).reshape(-1, 2).T
    x_range = np.minimum.reduceat(x, first), np.maximum.reduceat(x, first)
    y_range = np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)
    # the height of the next corner above the last one, of a polygon that is closed
    heights = np.empty_like(y)
    heights[1:-1] = y[2:] - y[:-2]
    heights[first] = y[first + 1] - y[last]
    heights[last] = y[first] - y[last - 1]
    area = np.abs(np.add.reduceat(x * heights, first)) / 2
    across = x_range[1] - x_range[0]
    down = y_range[1] - y_range[0]
    # comparisons with NaN are false
    inside = (x_range[0] >= 0) & (y_range[0] >= 0) & (x_range[1] <= sizes[:, 1]) & (y_range[1] <= sizes[:, 0])
    return inside & (across >= _THIN) & (down >= _THIN) & (area >= _THIN * np.maximum(across, down))


def encode_segmentation(mask: list | dict, height: int, width: int) -> dict:
    """The run-length encoding, with text counts, of a mask that ``read_segmentation`` gave."""
    if isinstance(mask, list):
        encoded = encode_polygons(mask, height, width)
    elif isinstance(mask['counts'], list):
        encoded = coco_mask.frPyObjects(mask, height, width)
    else:
        return mask
    return {'size': [int(height), int(width)], 'counts': encoded['counts'].decode('ascii')}


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def read_runs(value: dict) -> tuple[tuple[int, int], np.ndarray]:
    """The size (h, w) and the run lengths (n,) int64 of a run-length encoding, which may be that of an empty mask.

    Raises:
        ValueError: It isn't one; the message is the reason, without what was given.
    """
    missing = [key for key in ('size', 'counts') if key not in value]
    if missing:
        raise ValueError(f'run lengths without {" and ".join(missing)}')
    height, width = size = _size(value['size'])
    _check_pixels(height, width)
    return size, run_lengths(value['counts'], height * width)


def _size(size: object) -> tuple[int, int]:
    sides = list(size) if _is_list(size) else []
    if len(sides) != 2 or not all(isinstance(side, Real) and side >= 0 and side % 1 == 0 for side in sides):
        raise ValueError('run lengths whose size is not [height, width]')
    return int(sides[0]), int(sides[1])


def _check_pixels(height: int, width: int) -> None:
    if height * width > LARGEST_MASK or max(height, width) > LARGEST_SIDE:
        raise ValueError('an image of more pixels than run lengths can count')


def _read_runs_of_image(value: dict, height: int, width: int) -> dict:
    size, lengths = read_runs(value)
    if size != (height, width):
        raise ValueError("run lengths of another size than the image's")
    if not lengths[1::2].any():
        raise ValueError('a mask that covers no pixel')
    counts = value['counts']
    if isinstance(counts, bytes):
        counts = counts.decode('ascii')
    return {'size': [int(height), int(width)], 'counts': counts if isinstance(counts, str) else lengths.tolist()}


def _read_polygons(value: Sequence, height: int, width: int) -> Segmentation:
    polygons = [_flat(part) for part in _parts(value)]
    kept = [polygon for polygon in polygons if len(polygon) >= 2 * _POINTS]
    if not kept:
        raise ValueError(f'polygons of fewer than {_POINTS} points')
    # Rasterization decides what is covered, but is too slow to ask it about polygons that plainly cover something.
    if all(_is_thin(polygon, height, width) for polygon in kept) and not _draws(kept, height, width):
        raise ValueError('a mask that covers no pixel')
    left_out = f'polygons of fewer than {_POINTS} points left out' if len(kept) < len(polygons) else ''
    return Segmentation(kept, left_out)


def _parts(value: Sequence) -> Sequence:
    """The polygons of a segmentation; one alone may be given without a list around it."""
    if not _is_list(value[0]):
        return [value]
    # As polygons, lists of two numbers would cover nothing: they are the points of one.
    points = all(_is_list(part) and len(part) == 2 and not any(map(_is_list, part)) for part in value)
    return [value] if points else value


def _flat(polygon: object) -> list:
    """[x0, y0, x1, y1, ...] of a polygon, flat or of points; each coordinate is known to be a number of usable size."""
    if not _is_list(polygon):
        raise ValueError('polygons that are not lists of numbers')
    numbers = polygon.tolist() if isinstance(polygon, np.ndarray) else list(polygon)
    if numbers and _is_list(numbers[0]):
        numbers = _joined(numbers)
    if not _are_numbers(polygon, numbers):
        raise ValueError('coordinates that are not numbers')
    if len(numbers) % 2:
        raise ValueError('polygons with an odd number of coordinates')
    if numbers and not _usable(numbers):
        raise ValueError('coordinates that are not finite or far away')
    return numbers


def _are_numbers(polygon: Sequence, numbers: list) -> bool:
    # Files have millions of numbers: an array tells their type at once, and of a list the types are compared as a set,
    # as asking for Real is slow.
    if isinstance(polygon, np.ndarray) and polygon.dtype.kind in 'if':
        return True
    return set(map(type, numbers)) <= {int, float} or all(isinstance(number, Real) for number in numbers)


def _joined(points: list) -> list:
    if not all(_is_list(point) and len(point) == 2 for point in points):
        raise ValueError('polygons that are neither flat nor made of [x, y]')
    return [number for point in points for number in point]


def _usable(numbers: list) -> bool:
    # The order matters: whole numbers too large for a float can be compared but not added to one, NaN the reverse.
    near = min(numbers) >= -LARGEST_COORDINATE and max(numbers) <= LARGEST_COORDINATE
    return near and math.isfinite(sum(numbers))


def _is_thin(polygon: list, height: int, width: int) -> bool:
    """Whether the part of a polygon in the image is narrower than 2 pixels, roughly; false only if it is wider."""
    xs = polygon[0::2]
    ys = polygon[1::2]
    left = min(xs)
    right = max(xs)
    top = min(ys)
    bottom = max(ys)
    across = min(right, width) - max(left, 0)
    down = min(bottom, height) - max(top, 0)
    if across < _THIN or down < _THIN:
        return True
    inside = left >= 0 and top >= 0 and right <= width and bottom <= height
    heights = map(sub, ys[1:] + ys[:1], ys[-1:] + ys[:-1])
    area = abs(sum(map(mul, xs, heights))) / 2  # without a loop in Python: files have a million of polygons
    return not inside or area < _THIN * max(across, down)


def _draws(polygons: list[list], height: int, width: int) -> bool:
    return bool(coco_mask.area(encode_polygons(polygons, height, width)))
