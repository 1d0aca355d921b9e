"""Resizing by Pillow, whose filters widen as they shrink an image, so that each old pixel counts."""

import numpy as np
from PIL import Image

INTERPOLATIONS = {
    'nearest': Image.Resampling.NEAREST,
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'box': Image.Resampling.BOX,
    'lanczos': Image.Resampling.LANCZOS,
    'hamming': Image.Resampling.HAMMING,
}


def resize(img: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Stretch an image (h, w) or (h, w, c) of any number of channels and any depth to ``size`` (h, w).

    Args:
        img: The image; its dtype stays.
        size: (h, w) in pixels.
        interpolation: A key of ``INTERPOLATIONS``.
    """
    filter_ = INTERPOLATIONS[interpolation]
    if img.ndim == 2:
        return _plane(img, size, filter_)
    # Pillow takes three channels of bytes at once. It takes four, too, but as color and transparency, by which it
    # weighs the color.
    if img.dtype == np.uint8 and img.shape[2] == 3:
        return np.array(Image.fromarray(img).resize(size[::-1], filter_))
    return np.stack([_plane(img[..., channel], size, filter_) for channel in range(img.shape[2])], axis=2)


def _plane(plane: np.ndarray, size: tuple[int, int], filter_: Image.Resampling) -> np.ndarray:
    """One channel (h, w). Pillow filters bytes and float32; other types take the way by the latter."""
    if plane.dtype == np.uint8:
        return np.array(Image.fromarray(plane).resize(size[::-1], filter_))
    moved = np.array(Image.fromarray(plane.astype(np.float32)).resize(size[::-1], filter_))
    if plane.dtype.kind == 'f':
        return moved.astype(plane.dtype, copy=False)
    limits = np.iinfo(plane.dtype)
    return np.rint(moved).clip(limits.min, limits.max).astype(plane.dtype)
