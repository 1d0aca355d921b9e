"""Color transforms of a given magnitude, from which automatic augmentation chooses.

Randaugment: Practical Automated Data Augmentation with a Reduced Search Space, arXiv 1909.13719. Pillow does the work.
"""

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability, check_range
from mmdetlike.datasets.transforms.color import as_bytes
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS

MAX_LEVEL = 10


def draw_magnitude(level: int | None, min_mag: float, max_mag: float) -> float:
    """The magnitude at ``level``, on a scale of 0 (``min_mag``) to 10 (``max_mag``); a random one if it is None."""
    share = np.random.uniform() if level is None else level / MAX_LEVEL
    return min_mag + share * (max_mag - min_mag)


def check_level(level: int | None) -> int | None:
    """Return ``level``.

    Raises:
        ConfigError: It isn't None or between 0 and 10.
    """
    if level is not None and not 0 <= level <= MAX_LEVEL:
        raise ConfigError(f'level must lie between 0 and {MAX_LEVEL}, or be None for a random one, got {level!r}')
    return level


@TRANSFORMS.register_module()
class ColorTransform(BaseTransform):
    """Change the colors of an image with a probability. This base changes nothing: it is the choice of no change.

    A subclass supplies ``enhance``. Floating point images are rounded to 8 bits on the way.

    Args:
        prob: The probability.
        level: 0 to 10, from ``min_mag`` to ``max_mag``; None for a random magnitude each time.
        min_mag: Least magnitude.
        max_mag: Largest magnitude.
    """

    needs = ('img',)

    def __init__(self, prob: float = 1.0, level: int | None = None, min_mag: float = 0.1, max_mag: float = 1.9) -> None:
        self.prob = check_probability(prob)
        self.level = check_level(level)
        self.min_mag, self.max_mag = check_range('(min_mag, max_mag)', (min_mag, max_mag))

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        """An RGB image, changed."""
        return image

    def transform(self, results: dict) -> dict:
        if np.random.uniform() >= self.prob:
            return results
        image = Image.fromarray(as_bytes(results, self)[..., ::-1])  # Pillow weighs the channels as RGB
        changed = self.enhance(image, draw_magnitude(self.level, self.min_mag, self.max_mag))
        pixels = np.ascontiguousarray(np.asarray(changed)[..., ::-1])
        results['img'] = pixels.astype(results['img'].dtype, copy=False)
        return results


@TRANSFORMS.register_module()
class Color(ColorTransform):
    """Blend with the gray image: 0 is gray, 1 no change, 2 twice as colorful."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageEnhance.Color(image).enhance(magnitude)


@TRANSFORMS.register_module()
class Brightness(ColorTransform):
    """Multiply all levels by the magnitude."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageEnhance.Brightness(image).enhance(magnitude)


@TRANSFORMS.register_module()
class Contrast(ColorTransform):
    """Blend with the mean gray: 0 is all of one gray, 1 no change."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageEnhance.Contrast(image).enhance(magnitude)


@TRANSFORMS.register_module()
class Sharpness(ColorTransform):
    """Blend with the smoothed image: 0 is smooth, 1 no change, 2 sharpened."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageEnhance.Sharpness(image).enhance(magnitude)


@TRANSFORMS.register_module()
class Solarize(ColorTransform):
    """Invert all levels that are not below the magnitude."""

    def __init__(
        self, prob: float = 1.0, level: int | None = None, min_mag: float = 0.0, max_mag: float = 256.0
    ) -> None:
        super().__init__(prob, level, min_mag, max_mag)

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageOps.solarize(image, magnitude)


@TRANSFORMS.register_module()
class SolarizeAdd(ColorTransform):
    """Add the magnitude to all levels below 128."""

    def __init__(
        self, prob: float = 1.0, level: int | None = None, min_mag: float = 0.0, max_mag: float = 110.0
    ) -> None:
        super().__init__(prob, level, min_mag, max_mag)

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        levels = [level + int(magnitude) if level < 128 else level for level in range(256)]
        return image.point([min(level, 255) for level in levels] * 3)


@TRANSFORMS.register_module()
class Posterize(ColorTransform):
    """Keep as many of the highest bits of each level as the magnitude says, at least one."""

    def __init__(self, prob: float = 1.0, level: int | None = None, min_mag: float = 0.0, max_mag: float = 4.0) -> None:
        super().__init__(prob, level, min_mag, max_mag)

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageOps.posterize(image, min(max(math.ceil(magnitude), 1), 8))


@TRANSFORMS.register_module()
class Equalize(ColorTransform):
    """Make the histogram of each channel flat; there is no magnitude."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageOps.equalize(image)


@TRANSFORMS.register_module()
class AutoContrast(ColorTransform):
    """Stretch each channel to all levels; there is no magnitude."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageOps.autocontrast(image)


@TRANSFORMS.register_module()
class Invert(ColorTransform):
    """Invert all levels; there is no magnitude."""

    def enhance(self, image: Image.Image, magnitude: float) -> Image.Image:
        return ImageOps.invert(image)
