"""Which colour a class gets, and which text is legible on it."""

from collections.abc import Sequence

import numpy as np

from mmdetlike.utils.colors import Color, distinct_colors, linear_rgb

_DATASET_OF = {'coco': 'CocoDataset', 'voc': 'VOCDataset', 'citys': 'CityscapesDataset'}


def luminance(color: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white), as WCAG 2 defines it."""
    return float(linear_rgb(color) @ (0.2126, 0.7152, 0.0722))


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
