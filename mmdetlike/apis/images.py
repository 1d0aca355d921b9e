"""Converting pictures in memory, in whatever form users have them, to the arrays that pipelines take."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImages
from PIL.Image import Image as PillowImage

Image = str | Path | np.ndarray | torch.Tensor | PillowImage
CHANNEL_ORDERS = ('bgr', 'rgb')
_CHANNELS = (1, 3, 4)
_EXPECTED = 'expected a path, an array (h, w, 3), uint8, a tensor (3, h, w), a PIL image, or several of these'


def check_channel_order(channel_order: str) -> None:
    """Raise a ValueError unless it is one of `CHANNEL_ORDERS`."""
    if channel_order not in CHANNEL_ORDERS:
        raise ValueError(f'channel_order must be one of {", ".join(map(repr, CHANNEL_ORDERS))}, got {channel_order!r}')


def is_single(images) -> bool:
    """Whether it is one picture, not several: no list, generator or other iterable, no stack (n, h, w, 3)."""
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return images.ndim != 4
    return isinstance(images, (str, Path, PillowImage)) or not _is_series(images)


def each(images: Iterable | np.ndarray | torch.Tensor) -> Iterator:
    """The pictures of a list, generator or stack, one by one; a stack within a list is taken apart, too."""
    for entry in images:
        if isinstance(entry, (np.ndarray, torch.Tensor)) and entry.ndim == 4:
            yield from entry
        else:
            yield entry


def _is_series(images) -> bool:
    """Whether entries may be pictures; those of files are lines, of bytes numbers, of dicts keys."""
    return (
        isinstance(images, Iterable)
        and not isinstance(images, (bytes, bytearray, dict))
        and not hasattr(images, 'read')
    )


def as_array(image, channel_order: str = 'bgr') -> np.ndarray:
    """A picture as (h, w, 3) uint8, BGR: gray ones get equal channels, an alpha channel is left out.

    Args:
        image: Array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), uint8; tensor (c, h, w) with 1, 3 or 4 channels, uint8
            or floating point from 0 to 1; or PIL image.
        channel_order: ``'bgr'`` or ``'rgb'``, of arrays and tensors; PIL images know theirs.

    Raises:
        TypeError: It is nothing of the kind.
        ValueError: It is an array or tensor of another shape, type or range.
    """
    if isinstance(image, PillowImage):
        image = _array_of_pillow(image)
        channel_order = 'rgb'
    elif isinstance(image, torch.Tensor):
        image = _array_of_tensor(image)
    elif not isinstance(image, np.ndarray):
        raise TypeError(f'{_EXPECTED}, got {type(image).__name__}')
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in _CHANNELS or image.size == 0:
        raise ValueError(
            'a picture as an array must be (h, w, 3), uint8 from 0 to 255 (or gray, or with alpha), got '
            f'{image.dtype} of the shape {image.shape}'
        )
    if channels == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1] if channel_order == 'rgb' else image[..., :3])


def _array_of_pillow(image: PillowImage) -> np.ndarray:
    from PIL import ImageOps

    if image.mode in ('F', 'I'):
        raise ValueError(f'a PIL image of the mode {image.mode!r}, 32 bits, has no known range: convert it to 8 bits')
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I;16'):  # Pillow would clip instead of scale
        image = PillowImages.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return np.asarray(image.convert('RGB'))


def _array_of_tensor(image: torch.Tensor) -> np.ndarray:
    if image.ndim != 3 or image.shape[0] not in _CHANNELS:
        raise ValueError(f'a picture as a tensor must be (3, h, w), got the shape {tuple(image.shape)}')
    image = image.detach().cpu().permute(1, 2, 0)
    if not image.is_floating_point():
        return image.numpy()
    if image.numel() and not (image.min() >= 0 and image.max() <= 1):  # NaN is refused, too
        raise ValueError(
            'a picture as a tensor of floating point must lie between 0 and 1, got '
            f'{image.min():g} to {image.max():g}; call .to(torch.uint8) for one from 0 to 255'
        )
    return image.double().mul(255).round().to(torch.uint8).numpy()


def describe(image: Image) -> str:
    """The name of a picture in messages."""
    if isinstance(image, (str, Path)):
        return str(image)
    kind = 'tensor' if isinstance(image, torch.Tensor) else 'PIL image' if isinstance(image, PillowImage) else 'array'
    return f'{kind} {tuple(getattr(image, "shape", getattr(image, "size", ())))}'
