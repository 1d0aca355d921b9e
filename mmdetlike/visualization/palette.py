"""Colors of classes, and of text that is legible on them."""

import functools
import numbers
import warnings
from collections.abc import Sequence

import numpy as np

from mmdetlike.errors import ConfigError
from mmdetlike.utils.colors import Color, distinct_colors, linear_rgb

ColorLike = str | Color | Sequence[float]
_DATASET_OF = {'coco': 'CocoDataset', 'voc': 'VOCDataset', 'citys': 'CityscapesDataset'}


def luminance(color: Sequence[int]) -> float:
    """Relative luminance of an sRGB color, 0 (black) to 1 (white), as WCAG 2 defines it."""
    return float(linear_rgb(color) @ (0.2126, 0.7152, 0.0722))


def contrast(a: Sequence[int], b: Sequence[int]) -> float:
    """Contrast ratio of two sRGB colors, 1 (none) to 21 (black on white), as WCAG 2 defines it."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)  # WCAG's term for light that a screen reflects


def readable_text_color(background: Sequence[int], preferred: Sequence[int] | None = None) -> Color:
    """Return ``preferred`` where it is legible on ``background`` (contrast 4.5 or more), else black or white."""
    if preferred is not None and contrast(preferred, background) >= 4.5:
        return tuple(int(channel) for channel in preferred)
    white = (255, 255, 255)
    black = (0, 0, 0)
    return white if contrast(white, background) > contrast(black, background) else black


def get_palette(palette: str | ColorLike | Sequence[ColorLike] | None, num_classes: int) -> list[Color]:
    """Return one RGB color for each of ``num_classes`` classes.

    Args:
        palette: None or 'random' for :func:`distinct_colors`; 'coco', 'voc' or 'citys' for the colors of that dataset
            where its class has ``METAINFO['palette']``; one color for all; or a list of colors, one a class, which is
            filled up, with one warning, by distinct ones if it is too short. A color is a name ('green', '#ff8800'),
            an RGB triple from 0 to 255, or one of floating point from 0 to 1.
        num_classes: Number of classes.

    Raises:
        ConfigError: A name is unknown, or a triple isn't one.
    """
    if isinstance(palette, str):
        palette = _named_palette(palette)
    if palette is None:
        return distinct_colors(num_classes)
    if len(palette) == 3 and all(isinstance(channel, numbers.Real) for channel in palette):
        palette = [palette] * num_classes
    colors = [_checked(color) for color in palette[:num_classes]]
    if len(colors) < num_classes:
        _warn_of_short_palette(len(colors), num_classes)
    return colors + distinct_colors(num_classes)[len(colors) :]


@functools.cache  # once, not for each picture
def _warn_of_short_palette(number: int, num_classes: int) -> None:
    warnings.warn(
        f'the palette has {number} colors for {num_classes} classes: the others get colors of ours', stacklevel=3
    )


def _named_palette(name: str) -> Sequence | None:
    if name == 'random':
        return None
    if name in _DATASET_OF:
        from mmdetlike.registry import DATASETS

        return DATASETS.get(_DATASET_OF[name]).METAINFO.get('palette')
    try:
        return _color_of_name(name)
    except ValueError:
        known = ', '.join(repr(known) for known in ('random', *_DATASET_OF))
        raise ConfigError(f'palette {name!r} is neither {known} nor the name of a color') from None


def _color_of_name(name: str) -> Color:
    from PIL import ImageColor

    return ImageColor.getrgb(name)[:3]


def _checked(color: ColorLike) -> Color:
    try:
        channels = np.array(_color_of_name(color) if isinstance(color, str) else color)
        if channels.dtype.kind == 'f' and channels.max() <= 1:
            channels = np.round(channels * 255)
        if channels.dtype.kind in 'iuf' and channels.shape == (3,) and ((channels >= 0) & (channels <= 255)).all():
            return tuple(int(channel) for channel in channels)
    except (ValueError, TypeError):
        pass
    raise ConfigError(
        f"a color is a name, such as 'red', three numbers from 0 to 255, or three from 0.0 to 1.0, got {color!r}"
    )
