"""Text that is legible at any image size and in any script: fonts, sizes that follow the image, shortening."""

import difflib
import functools
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmdetlike.errors import ConfigError

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from .palette import Color

MIN_FONT_SIZE = 9
_MAX_CHARACTERS = 200
_JOINERS = ('\u200c', '\u200d')  # shape the letters around them
_FONT_SUFFIXES = ('.ttf', '.otf', '.ttc', '.otc')
_SPECIAL_STYLES = ('bold', 'italic', 'oblique', 'mono', 'serif', 'condensed', 'light', 'thin', 'black')


def mean_side(shape: tuple[int, ...]) -> float:
    """Side in pixels of the square with the area of an image of ``shape`` (h, w, ...)."""
    return float(shape[0] * shape[1]) ** 0.5


def font_size_for(shape: tuple[int, ...]) -> int:
    """Font size in pixels that suits an image of ``shape``: 9 on 100 px, 14 on 640 x 480, 54 on 4000 x 3000."""
    return max(MIN_FONT_SIZE, round(6 + 0.014 * mean_side(shape)))


def line_width_for(shape: tuple[int, ...], base: float = 3) -> int:
    """Line width in pixels on an image of ``shape`` of a line that is ``base`` pixels wide on 1333 x 800."""
    return max(1, round(base / 3 * (1.1 + 0.002 * mean_side(shape))))


class Typeface:
    """Text of one size, in one font; letters that it lacks are in other installed fonts.

    Args:
        size: In pixels.
        file: Of the font; DejaVu Sans, which matplotlib ships, by default.
    """

    def __init__(self, size: int, file: str | None = None) -> None:
        self.size = size
        self.file = file

    def getlength(self, text: str) -> float:
        """Width of a text in pixels."""
        return sum(_load_font(file, self.size).getlength(piece) for file, piece in split_by_font(text, self.file))

    def paint(self, draw: 'ImageDraw', text: str, left: float, middle: float, color: 'Color') -> None:
        """Write a text, its left end at x = ``left``, the middle of its height at y = ``middle``."""
        ascent, descent = _load_font(self.file or default_font(), self.size).getmetrics()
        baseline = middle + (ascent - descent) / 2
        for file, piece in split_by_font(text, self.file):
            font = _load_font(file, self.size)
            draw.text((left, baseline), piece, fill=color, font=font, anchor='ls')
            left += font.getlength(piece)


def tidy(text: str) -> str:
    """A text in one line: line breaks and control characters become spaces, marks of direction are left out."""
    kept = (_tidy_character(character) for character in str(text)[:_MAX_CHARACTERS])
    return ' '.join(''.join(kept).split())


def _tidy_character(character: str) -> str:
    category = unicodedata.category(character)
    if category in ('Cc', 'Zl', 'Zp'):
        return ' '
    if category == 'Cs':  # half of a pair, which no font and no encoder takes
        return '\ufffd'
    return '' if category == 'Cf' and character not in _JOINERS else character


def is_legible(text: str, font: str | None = None) -> bool:
    """Whether installed fonts, or the file ``font``, have all its letters."""
    return all(_joins(character) or font_of(character, font) for character in text)


def with_placeholders(text: str) -> str:
    """A text with question marks for letters that no installed font has."""
    return ''.join(character if is_legible(character) else '?' for character in tidy(text))


def legible_names(classes: Sequence[str], font: str | None = None) -> tuple[str, ...]:
    """Names of classes as they can be written: 'class 3' for one that no font has, with one warning."""
    return _legible_names(tuple(str(name) for name in classes), font)


@functools.lru_cache(maxsize=64)
def _legible_names(classes: tuple[str, ...], font: str | None) -> tuple[str, ...]:
    names = [tidy(name) for name in classes]
    illegible = [i for i, name in enumerate(names) if classes[i] and not (name and is_legible(name, font))]
    if illegible:
        first = illegible[0]
        warnings.warn(
            f'no installed font has all letters of {len(illegible)} of the {len(classes)} class names, such as '
            f"{classes[first][:40]!r}: they are drawn as 'class {first}' and so on; install a font for their script",
            stacklevel=2,
        )
    return tuple(f'class {i}' if i in illegible else name for i, name in enumerate(names))


def split_by_font(text: str, font: str | None = None) -> list[tuple[str, str]]:
    """Pieces of a text in order, each after the file of its font: ``font`` or the default if that has the letter."""
    if text.isascii() and font is None:
        return [(default_font(), text)] if text else []
    runs: list[tuple[str, str]] = []
    for character in text:
        joined = bool(runs) and _joins(character)
        file = runs[-1][0] if joined else font_of(character, font) or default_font()
        if runs and runs[-1][0] == file:
            runs[-1] = (file, runs[-1][1] + character)
        else:
            runs.append((file, character))
    return runs


def _joins(character: str) -> bool:
    """Whether a character is part of the letter before it, as accents, vowel signs and joiners are."""
    return unicodedata.category(character) in ('Mn', 'Mc', 'Me', 'Cf')


@functools.lru_cache(maxsize=4096)
def font_of(character: str, font: str | None = None) -> str | None:
    """The file of a font that has a character: of ``font``, the default and the others, the first; None if none has."""
    preferred = (default_font(),) if font is None else (font, default_font())
    files = (file for files in (preferred, other_fonts()) for file in files)
    return next((file for file in files if ord(character) in _characters(file)), None)


def find_font(font: str) -> str:
    """The file of a font, given by its path or by the name of an installed family, as 'Noto Sans CJK SC'.

    Raises:
        ConfigError: There is no such file or family, or the file is no font.
    """
    from matplotlib import font_manager

    if not isinstance(font, str) or not font:
        raise ConfigError(f'font={font!r} should be the path of a font file, or the name of an installed family.')
    path = Path(font).expanduser()
    if path.suffix.lower() in _FONT_SUFFIXES or path.is_file():
        if not path.is_file():
            raise ConfigError(f'font={font!r}: there is no such file.')
        if not len(_characters(str(path))):
            raise ConfigError(f'font={font!r}: the file is no font that can be drawn at any size (TrueType, OpenType).')
        return str(path)
    try:
        return font_manager.findfont(font_manager.FontProperties(family=[font]), fallback_to_default=False)
    except ValueError:
        close = difflib.get_close_matches(font, font_manager.get_font_names(), n=3)
        hint = f' (closest: {", ".join(close)})' if close else ''
        raise ConfigError(
            f'font={font!r} is neither the path of a font file (.ttf, .otf, .ttc) nor an installed family{hint}.'
        ) from None


@functools.lru_cache(maxsize=1)
def default_font() -> str:
    import matplotlib

    return f'{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf'


@functools.lru_cache(maxsize=1)
def other_fonts() -> tuple[str, ...]:
    """Files of the installed fonts, those of plain style first."""
    from matplotlib import font_manager

    def strangeness(file: str) -> tuple[int, str]:
        name = Path(file).name.lower()
        return sum(style in name for style in _SPECIAL_STYLES), name

    return tuple(sorted(font_manager.findSystemFonts(), key=strangeness))


@functools.cache
def _characters(file: str) -> np.ndarray:
    """Code points of a font; none if it can't be drawn at any size, as fonts made of pictures can't."""
    from matplotlib.ft2font import FT2Font

    try:
        _load_font(file, MIN_FONT_SIZE)
        return np.fromiter(FT2Font(file).get_charmap(), np.uint32)
    except (OSError, RuntimeError, ValueError):
        return np.empty(0, np.uint32)


@functools.lru_cache(maxsize=64)
def _load_font(file: str, size: int) -> 'FreeTypeFont':
    from PIL import ImageFont

    return ImageFont.truetype(file, size)


def shorten(text: str, font: Typeface, max_width: float, tail: int = 0) -> str:
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
