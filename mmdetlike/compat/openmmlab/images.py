"""Pictures as ``mmcv`` reads, writes and changes them: arrays (h, w, 3), BGR, or (h, w)."""

from pathlib import Path

import cv2
import numpy as np

from mmdetlike.datasets.transforms.image_io import decode_image, read_image
from mmdetlike.structures.warp import BORDERS, INTERPOLATIONS, Warp


def imread(img_or_path: str | Path | np.ndarray, flag: str = 'color', channel_order: str = 'bgr') -> np.ndarray:
    """A picture as an array (h, w, 3) uint8, or (h, w) with ``flag='grayscale'``; an array is given back as it is.

    Args:
        img_or_path: Path or URL, or an array.
        flag: ``'color'``, ``'grayscale'`` or ``'unchanged'``, the first two also with ``_ignore_orientation``.
        channel_order: ``'bgr'`` or ``'rgb'``.

    Raises:
        ImageError: There is no such file, or it isn't a whole picture.
    """
    if isinstance(img_or_path, np.ndarray):
        return img_or_path
    return _in_order(read_image(str(img_or_path), flag), channel_order)


def imfrombytes(content: bytes, flag: str = 'color', channel_order: str = 'bgr') -> np.ndarray:
    """A picture from the bytes of a file; see ``imread``."""
    return _in_order(decode_image(content, flag), channel_order)


def _in_order(image: np.ndarray, channel_order: str) -> np.ndarray:
    return image[..., ::-1] if channel_order == 'rgb' and image.ndim == 3 else image


def imwrite(img: np.ndarray, file_path: str | Path) -> bool:
    """Write an array (h, w, 3), BGR, or (h, w) to a file, whose folder is made; returns whether that worked."""
    Path(file_path).parent.mkdir(parents=True, exist_ok=True)
    return cv2.imwrite(str(file_path), img)


def imresize(img: np.ndarray, size: tuple[int, int], return_scale: bool = False, interpolation: str = 'bilinear'):
    """Stretch to ``size`` (w, h); with ``return_scale`` also the factors of width and height."""
    height, width = img.shape[:2]
    resized = cv2.resize(img, tuple(size), interpolation=INTERPOLATIONS[interpolation])
    return (resized, size[0] / width, size[1] / height) if return_scale else resized


def imrescale(
    img: np.ndarray, scale: float | tuple[int, int], return_scale: bool = False, interpolation: str = 'bilinear'
):
    """Resize by a factor, or to the largest size within ``scale``: limits of the longer and the shorter side.

    With ``return_scale`` also the factor.
    """
    height, width = img.shape[:2]
    if isinstance(scale, (int, float)):
        factor = float(scale)
    else:
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    resized = imresize(img, (int(width * factor + 0.5), int(height * factor + 0.5)), interpolation=interpolation)
    return (resized, factor) if return_scale else resized


def imflip(img: np.ndarray, direction: str = 'horizontal') -> np.ndarray:
    """Mirror: ``'horizontal'``, ``'vertical'`` or ``'diagonal'``."""
    return Warp.flip(img.shape[:2], direction).image(img)


def impad(
    img: np.ndarray,
    *,
    shape: tuple[int, int] | None = None,
    padding: int | tuple[int, ...] | None = None,
    pad_val: float | tuple[float, ...] = 0,
    padding_mode: str = 'constant',
) -> np.ndarray:
    """Pad at the right and the bottom to ``shape`` (h, w), or by ``padding``.

    Args:
        img: The picture.
        shape: (h, w) to reach.
        padding: Pixels at all sides, at left/right and top/bottom, or at left, top, right and bottom.
        pad_val: What new pixels are.
        padding_mode: ``'constant'``, ``'edge'``, ``'reflect'`` or ``'symmetric'``.

    Raises:
        ValueError: Not exactly one of ``shape`` and ``padding`` is given.
    """
    if (shape is None) == (padding is None):
        raise ValueError(f'impad takes either shape or padding, got {shape} and {padding}')
    height, width = img.shape[:2]
    if padding is None:
        sides = (0, 0, max(shape[1] - width, 0), max(shape[0] - height, 0))
    else:
        given = (padding,) if isinstance(padding, int) else tuple(padding)
        sides = given * (4 // len(given))
    left, top, right, bottom = sides
    value = [float(pad_val)] * 4 if isinstance(pad_val, (int, float)) else pad_val
    return cv2.copyMakeBorder(img, top, bottom, left, right, BORDERS[padding_mode], value=value)


def imnormalize(img: np.ndarray, mean: np.ndarray, std: np.ndarray, to_rgb: bool = True) -> np.ndarray:
    """(pixel - mean) / std in float32, of channels turned round where ``to_rgb``."""
    channels = img[..., ::-1] if to_rgb else img
    return ((channels.astype(np.float32) - mean) / std).astype(np.float32)


def imdenormalize(img: np.ndarray, mean: np.ndarray, std: np.ndarray, to_bgr: bool = True) -> np.ndarray:
    """pixel * std + mean, of which the channels are turned round where ``to_bgr``: ``imnormalize`` undone."""
    channels = (img * std + mean).astype(img.dtype)
    return channels[..., ::-1] if to_bgr else channels


def bgr2rgb(img: np.ndarray) -> np.ndarray:
    """The channels (h, w, 3) turned round."""
    return cv2.cvtColor(img, cv2.COLOR_BGR2RGB)


rgb2bgr = bgr2rgb


def bgr2gray(img: np.ndarray, keepdim: bool = False) -> np.ndarray:
    """Gray levels (h, w), or (h, w, 1) with ``keepdim``."""
    gray = cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)
    return gray[..., None] if keepdim else gray
