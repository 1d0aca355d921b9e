"""Masks found in tiles: kept as small parts of a picture, and joined to masks of all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# beyond it masks of whole pictures are run-length encoded: a mask of 20,000 x 10,000 pixels has 200 MB
LARGEST_BITMAPS = 1_000_000_000


class Window(NamedTuple):
    """A part of a picture: rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the last ones not included."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class TileMask:
    """A mask that is stored as the part of the picture in which it has pixels.

    Args:
        pixels: (h, w) bool, a copy, so that the mask of the whole tile is not kept; of fewer pixels than the part if
            the tile was read in fewer.
        part: Where in the picture they are.
    """

    pixels: Tensor
    part: Window

    def paste(self, picture: Tensor, top: int = 0, left: int = 0) -> None:
        """Add it to a mask (H, W) bool of the whole picture, or of its part that begins at ``top`` and ``left``."""
        size = (self.part.bottom - self.part.top, self.part.right - self.part.left)
        pixels = self.pixels
        if min(size) and tuple(pixels.shape) != size:
            pixels = F.interpolate(pixels[None, None].to(torch.uint8), size=size, mode='nearest')[0, 0].bool()
        rows = slice(self.part.top - top, self.part.bottom - top)
        columns = slice(self.part.left - left, self.part.right - left)
        picture[rows, columns] |= pixels


def tile_mask(mask: Tensor, window: Window) -> TileMask:
    """The part of a tile's mask (h, w) bool in which it has pixels.

    Args:
        mask: Of the tile, in as many pixels as that was read.
        window: Of the tile.
    """
    rows = _extent(mask.any(1))
    columns = _extent(mask.any(0))
    y_factor = (window.bottom - window.top) / mask.shape[0]
    x_factor = (window.right - window.left) / mask.shape[1]
    top, bottom = (window.top + round(row * y_factor) for row in rows)
    left, right = (window.left + round(column * x_factor) for column in columns)
    return TileMask(mask[slice(*rows), slice(*columns)].clone(), Window(top, left, bottom, right))


def _extent(used: Tensor) -> tuple[int, int]:
    """The first index that is True, and the one after the last; (0, 0) if none is."""
    indices = used.nonzero()
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)


def picture_masks(masks: Sequence[Sequence[TileMask]], shape: tuple[int, int]) -> Tensor | list[dict]:
    """The masks of whole pictures, each the union of some parts.

    Returns:
        (n, H, W) bool; if these would have more than `LARGEST_BITMAPS` bytes, COCO's run-length encodings, ``size`` and
        ``counts``, a list of numbers.
    """
    if len(masks) * shape[0] * shape[1] > LARGEST_BITMAPS:
        return [encoded(parts, shape) for parts in masks]
    result = torch.zeros(len(masks), *shape, dtype=torch.bool)
    for mask, parts in zip(result, masks):
        for part in parts:
            part.paste(mask)
    return result


def encoded(parts: Sequence[TileMask], shape: tuple[int, int]) -> dict:
    """The run-length encoding of the union of some parts; no more than the box around them is ever a bitmap."""
    top = min(mask.part.top for mask in parts)
    left = min(mask.part.left for mask in parts)
    bottom = max(mask.part.bottom for mask in parts)
    right = max(mask.part.right for mask in parts)
    union = torch.zeros(bottom - top, right - left, dtype=torch.bool)
    for mask in parts:
        mask.paste(union, top, left)
    return dict(size=list(shape), counts=_counts(union.numpy(), top, left, shape).tolist())


def _counts(mask: np.ndarray, top: int, left: int, shape: tuple[int, int]) -> np.ndarray:
    """Lengths of the runs of 0 and 1, down the columns of a picture with a mask (h, w) bool at ``top`` and ``left``."""
    height = shape[0]
    framed = np.pad(mask.T.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(framed, axis=1)
    columns, rows = np.nonzero(steps == 1)
    starts = (left + columns) * height + top + rows
    columns, rows = np.nonzero(steps == -1)
    ends = (left + columns) * height + top + rows
    # a run that ends at the bottom of the picture goes on where the next column begins with one
    goes_on = starts[1:] == ends[:-1]
    starts = starts[np.append(True, ~goes_on)[: len(starts)]]
    ends = ends[np.append(~goes_on, True)[: len(ends)]]
    borders = np.stack([starts, ends], axis=1).reshape(-1)
    lengths = np.diff(borders, prepend=0, append=height * shape[1])
    return lengths if lengths[-1] else lengths[:-1]
