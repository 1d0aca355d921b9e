"""Reading and writing of pictures as ``mmcv`` does it."""

from pathlib import Path

import cv2
import numpy as np

from mmdetlike.datasets.transforms.image_io import read_image


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
    image = read_image(str(img_or_path), flag)
    return image[..., ::-1] if channel_order == 'rgb' and image.ndim == 3 else image


def imwrite(img: np.ndarray, file_path: str | Path) -> bool:
    """Write an array (h, w, 3), BGR, or (h, w) to a file, whose folder is made; returns whether that worked."""
    Path(file_path).parent.mkdir(parents=True, exist_ok=True)
    return cv2.imwrite(str(file_path), img)
