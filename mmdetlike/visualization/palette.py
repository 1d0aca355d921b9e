"""Colours of classes: as many distinct ones as a dataset needs, the same in every run."""

import functools
from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]

_DATASET_OF = {'coco': 'CocoDataset', 'voc': 'VOCDataset', 'citys': 'CityscapesDataset'}
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
    """Return ``n`` vivid RGB colours: eight chosen ones, then each as far as possible (in OKLab) from all before it.

    The list for a smaller ``n`` is a prefix of the list for a larger one, so a class keeps its colour when classes are
    appended. Colours repeat only after about 3000.

    Raises:
        ValueError: ``n`` is negative.
    """
    if n < 0:
        raise ValueError(f'the number of colours must not be negative, got {n}')
    colors = _spread_colors(min(max(n, 32), len(_candidates()[0])))
    return [colors[i % len(colors)] for i in range(n)]


@functools.lru_cache(maxsize=8)
def _spread_colors(n: int) -> list[Color]:
    """The first colours and farthest-point samples of the candidates, at least ``n`` in all."""
    lab, rgb = _candidates()
    picks = list(_FIRST)
    distance = np.min([((lab - _to_oklab(color)) ** 2).sum(1) for color in _FIRST], axis=0)
    while len(picks) < n:
        chosen = int(np.argmax(distance))
        picks.append(tuple(int(channel) for channel in rgb[chosen]))
        distance = np.minimum(distance, ((lab - lab[chosen]) ** 2).sum(1))
    return picks


@functools.lru_cache(maxsize=1)
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """OKLab (n, 3) and RGB (n, 3) of a grid of colours neither dark, pale, grey nor glaring."""
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.56, 0.88, 17), np.linspace(0.1, 0.25, 15), np.linspace(0, 2 * np.pi, 72, endpoint=False)
    )
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1).reshape(-1, 3)
    linear = ((lab @ _OKLAB_TO_LMS.T) ** 3) @ _LMS_TO_RGB.T
    inside = ((linear >= 0) & (linear <= 1)).all(1)
    linear = linear[inside]
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return lab[inside], np.round(srgb * 255).astype(int)


def _to_oklab(color: Sequence[int]) -> np.ndarray:
    lms = np.linalg.solve(_LMS_TO_RGB, _linear(color))
    return np.linalg.solve(_OKLAB_TO_LMS, np.cbrt(lms))


def _linear(color: Sequence[int]) -> np.ndarray:
    channels = np.asarray(color[:3], dtype=float) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(color: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white), as WCAG 2 defines it."""
    return float(_linear(color) @ (0.2126, 0.7152, 0.0722))


def contrast(a: Sequence[int], b: Sequence[int]) -> float:
    """Contrast ratio of two sRGB colours, 1 (none) to 21 (black on white), as WCAG 2 defines it."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def readable_text_color(background: Sequence[int], preferred: Sequence[int] | None = None) -> Color:
    """Return ``preferred`` where it is legible on ``background`` (contrast 4.5 or more), else black or white."""
    if preferred is not None and contrast(preferred, background) >= 4.5:
        return tuple(int(channel) for channel in preferred)
    white, black = (255, 255, 255), (0, 0, 0)
    return white if contrast(white, background) > contrast(black, background) else black


def get_palette(palette: str | Color | Sequence[Color] | None, num_classes: int) -> list[Color]:
    """Return one RGB colour for each of ``num_classes`` classes.

    Args:
        palette: None or 'random' for :func:`distinct_colors`; 'coco', 'voc' or 'citys' for the colours of that dataset
            where its class has ``METAINFO['palette']``; a colour name ('green', '#ff8800') or an RGB triple for one
            colour for all; or a list of RGB triples, one a class.
        num_classes: Number of classes.

    Raises:
        ValueError: the name is unknown, or the list has fewer colours than there are classes.
    """
    if isinstance(palette, str):
        palette = _named_palette(palette)
    if palette is None:
        return distinct_colors(num_classes)
    if len(palette) == 3 and all(np.isscalar(channel) for channel in palette):
        palette = [palette] * num_classes
    if len(palette) < num_classes:
        raise ValueError(f'the palette has {len(palette)} colours for {num_classes} classes')
    return [_checked(color) for color in palette[:num_classes]]


def _named_palette(name: str) -> Sequence | None:
    if name == 'random':
        return None
    if name in _DATASET_OF:
        from mmdetlike.registry import DATASETS

        return DATASETS.get(_DATASET_OF[name]).METAINFO.get('palette')
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        known = ', '.join(repr(known) for known in ('random', *_DATASET_OF))
        raise ValueError(f'palette {name!r} is neither {known} nor the name of a colour') from None


def _checked(color: Sequence[int]) -> Color:
    if len(color) != 3 or any(not 0 <= channel <= 255 for channel in color):
        raise ValueError(f'a colour is three numbers from 0 to 255, got {color!r}')
    return tuple(int(channel) for channel in color)
