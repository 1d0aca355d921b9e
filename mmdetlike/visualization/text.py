"""Text that is legible at any image size: the font, sizes that follow the image, shortening."""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MIN_FONT_SIZE = 9


def image_size(shape: tuple[int, ...]) -> float:
    """Side in pixels of the square with the area of an image of ``shape`` (h, w, ...)."""
    return float(shape[0] * shape[1]) ** 0.5


def font_size_for(shape: tuple[int, ...]) -> int:
    """Font size in pixels that suits an image of ``shape``: 9 on 100 px, 14 on 640 x 480, 54 on 4000 x 3000."""
    return max(MIN_FONT_SIZE, round(6 + 0.014 * image_size(shape)))


def line_width_for(shape: tuple[int, ...], base: float = 3) -> int:
    """Line width in pixels on an image of ``shape`` of a line that is ``base`` pixels wide on 1333 x 800."""
    return max(1, round(base / 3 * (1.1 + 0.002 * image_size(shape))))


@functools.lru_cache(maxsize=64)
def load_font(size: int, bold: bool = False) -> 'FreeTypeFont':
    """Return DejaVu Sans, which matplotlib ships, at ``size`` pixels."""
    import matplotlib
    from PIL import ImageFont

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(f'{matplotlib.get_data_path()}/fonts/ttf/{name}', size)


def shorten(text: str, font: 'FreeTypeFont', max_width: float, tail: int = 0) -> str:
    """Return ``text``, with an ellipsis for a part of it if it is wider than ``max_width`` pixels; '' if none fits.

    The last ``tail`` characters survive: with 5, 'traffic light 0.87' becomes 'traf… 0.87'.
    """
    if font.getlength(text) <= max_width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        end = min(tail, keep // 2)
        short = text[: keep - end].rstrip() + '…' + text[len(text) - end :]
        if font.getlength(short) <= max_width:
            return short
    return ''
