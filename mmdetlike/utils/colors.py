"""Distinct colors: as many as a dataset has classes, the same in every run."""

import functools
from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]

# OKLab is a color space in which distances are about as large as they look (B. Ottosson, "A perceptual color space for
# image processing", 2020); the matrices are those published there. LMS are the responses of the eye's cones.
_OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
_FIRST = (
    (255, 88, 72),
    (58, 142, 255),
    (52, 199, 89),
    (255, 184, 28),
    (175, 104, 255),
    (0, 200, 212),
    (255, 112, 186),
    (163, 212, 36),
)


def distinct_colors(n: int) -> list[Color]:
    """Return ``n`` vivid RGB colors: eight chosen ones, then each as far as possible (in OKLab) from all before it.

    The list for a smaller ``n`` is a prefix of the list for a larger one, so a class keeps its color when classes are
    appended. Colors repeat only after about 3000.

    Raises:
        ValueError: ``n`` is negative.
    """
    if n < 0:
        raise ValueError(f'the number of colors must not be negative, got {n}')
    # at least 32, so that few lists are computed and cached
    colors = _spread_colors(min(max(n, 32), len(_candidates()[0])))
    return [colors[i % len(colors)] for i in range(n)]


@functools.lru_cache(maxsize=8)
def _spread_colors(n: int) -> list[Color]:
    """The first colors and farthest-point samples of the candidates, at least ``n`` in all."""
    lab, rgb = _candidates()
    picks = list(_FIRST)
    distance = np.min([((lab - to_oklab(color)) ** 2).sum(1) for color in _FIRST], axis=0)
    while len(picks) < n:
        chosen = int(np.argmax(distance))
        picks.append(tuple(int(channel) for channel in rgb[chosen]))
        distance = np.minimum(distance, ((lab - lab[chosen]) ** 2).sum(1))
    return picks


@functools.lru_cache(maxsize=1)
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """OKLab (n, 3) and RGB (n, 3) of a grid of colors neither dark, pale, gray nor glaring."""
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.56, 0.88, 17), np.linspace(0.1, 0.25, 15), np.linspace(0, 2 * np.pi, 72, endpoint=False)
    )
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1).reshape(-1, 3)
    linear = ((lab @ _OKLAB_TO_LMS.T) ** 3) @ _LMS_TO_RGB.T
    # many colors of the grid can't be shown by a screen
    inside = ((linear >= 0) & (linear <= 1)).all(1)
    linear = linear[inside]
    # the transfer function of sRGB, IEC 61966-2-1; below, its inverse
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return lab[inside], np.round(srgb * 255).astype(int)


def to_oklab(color: Sequence[int]) -> np.ndarray:
    """OKLab coordinates (3,) of an sRGB color."""
    lms = np.linalg.solve(_LMS_TO_RGB, linear_rgb(color))
    return np.linalg.solve(_OKLAB_TO_LMS, np.cbrt(lms))


def linear_rgb(color: Sequence[int]) -> np.ndarray:
    """Linear light (3,) of an sRGB color, 0 to 1."""
    channels = np.asarray(color[:3], dtype=float) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
