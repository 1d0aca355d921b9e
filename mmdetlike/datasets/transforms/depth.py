"""Scaling pictures of more than 8 bits a channel to 8 bits, by a range of values that is given, or else guessed."""

import functools
from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.errors import warn_once

ValueRange = tuple[float, float] | str | None
_RANGE_OF_UINT16 = (0.0, 65535.0)
_LEAST_USED = 1 / 4  # of the range of 16 bits, below which the file probably holds 10, 12 or 14 bits


def check_value_range(value_range: ValueRange | Sequence[float]) -> ValueRange:
    """Return ``value_range``, a pair as a tuple.

    Raises:
        ValueError: It isn't None, 'file' or two numbers, the lower first.
    """
    if value_range is None or value_range == 'file':
        return value_range
    pair = tuple(value_range) if isinstance(value_range, Sequence) else ()
    if len(pair) != 2 or isinstance(value_range, str) or not pair[0] < pair[1]:
        raise ValueError(f"value_range must be None, 'file' or two numbers (lower, upper), got {value_range!r}.")
    return pair


def to_eight_bits(img: np.ndarray, value_range: ValueRange = None, path: str = '<array>') -> np.ndarray:
    """Scale values linearly so that ``value_range`` becomes 0 to 255; what lies outside is clipped, NaN becomes 0.

    Args:
        img: (h, w) or (h, w, c) of any number type; uint8 is returned as it is.
        value_range: (lower, upper); 'file' for the least and the largest value of the picture; None for 0 to 65535 if
            it is uint16, for 0 to 1 if it is floating point and lies therein, and for 'file' otherwise. One warning
            tells of the first picture whose range was guessed, or that leaves most of 0 to 65535 unused.
        path: Named in warnings.

    Returns:
        The picture as uint8.
    """
    if img.dtype == np.uint8:
        return img
    if value_range is None:
        low, high = _assumed_range(img, path)
    else:
        low, high = _own_range(img) if value_range == 'file' else value_range
    if img.dtype == np.uint16:
        return np.take(_table(low, high), img)  # much faster than arithmetic on each pixel
    return _scaled(img, low, high)


def _assumed_range(img: np.ndarray, path: str) -> tuple[float, float]:
    low, high = _own_range(img)
    if img.dtype == np.uint16:
        if high < _RANGE_OF_UINT16[1] * _LEAST_USED:
            warn_once(_unused_depth_message(path, high), key='unused depth')
        return _RANGE_OF_UINT16
    if img.dtype.kind == 'f' and low >= 0 and high <= 1:
        low = 0.0
        high = 1.0
    warn_once(_guessed_range_message(path, img, low, high), key='guessed range')
    return low, high


def _unused_depth_message(path: str, high: float) -> str:
    bits = max(int(high).bit_length(), 1)
    levels = round(high / 257) + 1  # 257 = 65535 / 255
    return (
        f'{path} has 16 bits a channel, but its largest value is {high:g}: as 0 to 65535 becomes 0 to 255, only '
        f'{levels} levels are left of it. If it holds {bits} bits, set value_range=(0, {2**bits - 1}) of '
        f'LoadImageFromFile.'
    )


def _guessed_range_message(path: str, img: np.ndarray, low: float, high: float) -> str:
    return (
        f'{path} holds values of type {img.dtype}, for which no range is given: {low:g} to {high:g} becomes 0 to 255, '
        f'and other pictures of this kind are scaled by their own values. Set value_range=(lower, upper) of '
        f'LoadImageFromFile.'
    )


def _own_range(img: np.ndarray) -> tuple[float, float]:
    finite = img[np.isfinite(img)] if img.dtype.kind == 'f' else img
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


@functools.lru_cache(maxsize=16)
def _table(low: float, high: float) -> np.ndarray:
    """The 8 bits of each value of 16 bits."""
    return _scaled(np.arange(65536), low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = high - low if high > low else 1.0  # a picture of one value is black
    levels = (values.astype(np.float64) - low) * (255 / span)
    return np.rint(np.nan_to_num(levels, nan=0, posinf=255, neginf=0).clip(0, 255)).astype(np.uint8)
