"""Transforms that change colors. 8-bit images go through tables of 256 entries."""

import cv2
import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, check_range
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """Change brightness, contrast, saturation and hue and swap the channels, each with probability 1/2.

    Contrast comes before or after the changes of saturation and hue, with equal probability. Pixels stay 0 to 255;
    a floating point image is rounded to 8 bits on the way and returned as it came.

    Args:
        brightness_delta: Largest change either way, in levels.
        contrast_range: (lower, upper) of the factor.
        saturation_range: (lower, upper) of the factor.
        hue_delta: Largest change either way, in degrees.
    """

    keeps_images = True

    needs = ('img',)

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        if brightness_delta < 0 or hue_delta < 0:
            raise ValueError(f'Deltas must be 0 or more, got {brightness_delta=} and {hue_delta=}.')
        self.brightness_delta = brightness_delta
        self.contrast_range = check_range('contrast_range', contrast_range)
        self.saturation_range = check_range('saturation_range', saturation_range)
        self.hue_delta = hue_delta

    def transform(self, results: dict) -> dict:
        img = as_bytes(results, self)
        brightness = _maybe(-self.brightness_delta, self.brightness_delta, neutral=0.0)
        contrast = _maybe(*self.contrast_range)
        contrast_first = np.random.randint(2)
        saturation = _maybe(*self.saturation_range)
        hue = _maybe(-self.hue_delta, self.hue_delta, neutral=0.0)
        order = np.random.permutation(3) if np.random.randint(2) else np.arange(3)

        img = _shift_and_scale_levels(img, brightness, contrast if contrast_first else 1.0)
        img = _shift_hue(img, hue, saturation)
        img = _shift_and_scale_levels(img, 0.0, 1.0 if contrast_first else contrast)
        results['img'] = _permute_channels(img, order).astype(results['img'].dtype, copy=False)
        return results


@TRANSFORMS.register_module()
class YOLOXHSVRandomAug(BaseTransform):
    """Add a random amount to hue, saturation and value, each with probability 1/2 (YOLOX, arXiv 2107.08430).

    Args:
        hue_delta: Largest change of hue either way, in steps of 2 degrees.
        saturation_delta: Largest change of saturation either way, of 255.
        value_delta: Largest change of value either way, of 255.
    """

    keeps_images = True

    needs = ('img',)

    def __init__(self, hue_delta: int = 5, saturation_delta: int = 30, value_delta: int = 30) -> None:
        if min(hue_delta, saturation_delta, value_delta) < 0:
            raise ValueError(f'Deltas must be 0 or more, got {hue_delta=}, {saturation_delta=} and {value_delta=}.')
        self.hue_delta = hue_delta
        self.saturation_delta = saturation_delta
        self.value_delta = value_delta

    def transform(self, results: dict) -> dict:
        limits = np.array([self.hue_delta, self.saturation_delta, self.value_delta])
        gains = (np.random.uniform(-1, 1, 3) * limits * np.random.randint(0, 2, 3)).astype(np.int64)
        levels = np.arange(256)[:, None] + gains
        levels[:, 0] %= 180  # in 8 bits OpenCV halves the 360 degrees of hue
        hsv = cv2.cvtColor(as_bytes(results, self), cv2.COLOR_BGR2HSV)
        hsv = cv2.LUT(hsv, levels.clip(0, 255).astype(np.uint8)[None])
        img = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        results['img'] = img.astype(results['img'].dtype, copy=False)
        return results


def _maybe(lower: float, upper: float, neutral: float = 1.0) -> float:
    """Drawn from the range with probability 1/2, ``neutral`` otherwise."""
    return np.random.uniform(lower, upper) if np.random.randint(2) else neutral


def as_bytes(results: dict, transform: BaseTransform) -> np.ndarray:
    """The image (h, w, 3) of a sample, in 8 bits.

    Raises:
        ConfigError: It has other channels; ``transform`` is named.
    """
    img = results['img']
    if img.ndim != 3 or img.shape[2] != 3:
        raise ConfigError(
            f'{type(transform).__name__} changes colors, which takes pictures of shape (h, w, 3), but '
            f'{results.get("img_path")} has {img.shape}: leave it out of the pipeline, or load 3 channels by '
            f'color_type="color" of LoadImageFromFile.'
        )
    return to_bytes(img)


def to_bytes(img: np.ndarray) -> np.ndarray:
    """An image of values from 0 to 255, of any shape, in 8 bits."""
    return img if img.dtype == np.uint8 else np.rint(img).clip(0, 255).astype(np.uint8)


def _shift_and_scale_levels(img: np.ndarray, offset: float, factor: float) -> np.ndarray:
    """(level + offset) * factor, clipped to 0 to 255."""
    if offset == 0 and factor == 1:
        return img
    levels = (np.arange(256) + offset) * factor
    return cv2.LUT(img, np.rint(levels).clip(0, 255).astype(np.uint8))


def _shift_hue(img: np.ndarray, degrees: float, saturation: float) -> np.ndarray:
    """Add to the hue and multiply the saturation, in OpenCV's variant of HSV whose hue goes around in 256 steps."""
    if degrees == 0 and saturation == 1:
        return img
    levels = np.tile(np.arange(256.0)[:, None], 3)
    levels[:, 0] = np.rint(levels[:, 0] + degrees * 256 / 360) % 256
    levels[:, 1] *= saturation
    table = np.rint(levels).clip(0, 255).astype(np.uint8)[None]
    hsv = cv2.LUT(cv2.cvtColor(img, cv2.COLOR_BGR2HSV_FULL), table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def _permute_channels(img: np.ndarray, order: np.ndarray) -> np.ndarray:
    planes = cv2.split(img)
    return img if np.array_equal(order, [0, 1, 2]) else cv2.merge([planes[i] for i in order])
