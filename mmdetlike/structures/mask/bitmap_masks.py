"""Instance masks as bitmaps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.mask.base_masks import BaseInstanceMasks, as_array, index_array
from mmdetlike.structures.warp import Warp


class BitmapMasks(BaseInstanceMasks):
    """Masks of the instances of an image, one bitmap each.

    Args:
        masks: (n, h, w) array of 0 and 1, or n arrays (h, w).
        height: Of the image.
        width: Of the image.

    Raises:
        ValueError: The masks are not of the given size.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int) -> None:
        self.height = int(height)
        self.width = int(width)
        if len(masks) == 0:
            masks = np.zeros((0, self.height, self.width), dtype=np.uint8)
        self.masks = masks if isinstance(masks, np.ndarray) else np.stack(masks)
        if self.masks.ndim != 3 or self.masks.shape[1:] != self.size:
            raise ValueError(f'Masks of (n, h, w) = (n, {height}, {width}) expected, got shape {self.masks.shape}.')

    @classmethod
    def random(cls, num_masks: int = 3, height: int = 32, width: int = 32, dtype: type = np.uint8) -> 'BitmapMasks':
        """Masks of noise, for tests, drawn from numpy's global generator."""
        masks = np.random.randint(0, 2, (num_masks, height, width)).astype(dtype)
        return cls(masks, height, width)

    @classmethod
    def cat(cls, masks: Sequence['BitmapMasks']) -> 'BitmapMasks':
        """Join the masks of one image."""
        return cls(np.concatenate([m.masks for m in masks]), masks[0].height, masks[0].width)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int | slice | np.ndarray | Tensor) -> 'BitmapMasks':
        if isinstance(index, slice):
            return BitmapMasks(self.masks[index], self.height, self.width)
        return BitmapMasks(self.masks[index_array(index, len(self))], self.height, self.width)

    @property
    def areas(self) -> np.ndarray:
        return self.masks.sum((1, 2))

    def warp(self, warp: Warp, fill: int = 0) -> 'BitmapMasks':
        return BitmapMasks([warp.label_map(mask, fill) for mask in self.masks], *warp.size)

    def to_bitmap(self) -> 'BitmapMasks':
        """Return ``self``, as these masks are bitmaps already."""
        return self

    def to_ndarray(self) -> np.ndarray:
        return self.masks

    def extents(self) -> np.ndarray:
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        for box, mask in zip(boxes, self.masks):
            xs = np.flatnonzero(mask.any(0))
            ys = np.flatnonzero(mask.any(1))
            if len(xs):
                box[:] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        return boxes

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> 'BitmapMasks':
        """Cut boxes out of masks as RoIAlign does: each new pixel is the mean of the bilinear samples in its bin.

        Arguments and shapes are those of `BaseInstanceMasks.crop_and_resize`.
        """
        if interpolation != 'bilinear':
            raise ValueError(f"interpolation={interpolation!r}; bitmaps are cut with 'bilinear' only.")
        patches = np.zeros((len(bboxes), *out_shape), dtype=np.float32)
        for patch, box, index in zip(patches, as_array(bboxes).astype(np.float64), as_array(inds)):
            patch[:] = _roi_align(self.masks[index], box, out_shape)
        return BitmapMasks((patches >= 0.5).astype(self.masks.dtype) if binarize else patches, *out_shape)


def _roi_align(mask: np.ndarray, box: np.ndarray, out_shape: tuple[int, int]) -> np.ndarray:
    """RoIAlign (Mask R-CNN, arXiv 1703.06870) of one mask.

    A bilinear weight is one along the row times one along the column, and the samples form a grid: the mean in all bins
    is a product of three matrices.
    """
    rows, top = _bin_weights(box[1], box[3], out_shape[0], mask.shape[0])
    columns, left = _bin_weights(box[0], box[2], out_shape[1], mask.shape[1])
    region = mask[top : top + rows.shape[1], left : left + columns.shape[1]]
    return rows @ region.astype(np.float32) @ columns.T


def _bin_weights(start: float, stop: float, bins: int, length: int) -> tuple[np.ndarray, int]:
    """Weights (bins, span) with which pixels along one axis enter the mean of each bin, and the first pixel's index."""
    samples = max(int(np.ceil((stop - start) / bins)), 1)
    step = (stop - start) / (bins * samples)
    at = start - 0.5 + (np.arange(bins * samples) + 0.5) * step  # -0.5: pixel 0 is sampled at its center
    # As the kernel: a sample up to a pixel beyond the image takes the border's value, one farther away is 0.
    counted = (at >= -1) & (at <= length)
    at = at.clip(0, length - 1)
    # The lower of the two pixels around each sample; the upper one exists too, unless there is but one pixel.
    low = np.minimum(at.astype(np.int64), max(length - 2, 0))
    offset = int(low.min())
    weights = np.zeros((bins, int(low.max()) - offset + 2), dtype=np.float32)
    bin_of = np.arange(len(at)) // samples
    # add.at, as several samples fall on the same pixel: `+=` would count only the last of them
    np.add.at(weights, (bin_of, low - offset), counted * (1 - (at - low)) / samples)
    np.add.at(weights, (bin_of, low - offset + 1), counted * (at - low) / samples)
    return weights[:, : length - offset], offset  # of an image of one pixel, the upper pixels (weight 0) don't exist
