"""JPEG files: decoding that notices damage, which OpenCV and Pillow pass over.

libjpeg decodes what it can of a damaged file and only warns, so that half of a picture may have wrong colors or be
shifted. simplejpeg, which wraps the same libjpeg-turbo and gives the same pixels in the same time, hands its warnings
on. Huffman codes often fall into step again behind the damage, so that a few flipped bits may go unnoticed even there.
"""

import io
import re
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from mmdetlike.datasets.errors import ImageError, warn

try:
    import simplejpeg
except ImportError:  # then JPEG files are decoded as any other, and damage inside of them goes unnoticed
    simplejpeg = None

START = b'\xff\xd8\xff'
# In entropy-coded data 0xFF is followed by 0 (stuffing), a restart marker or another 0xFF (padding).
_MARKER_IN_SCAN = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
TURNS = range(5, 9)  # the EXIF orientations that exchange width and height
_ORIENTATION_TAG = 0x0112
_BASELINE = 0xC0
_FRAMES = (_BASELINE, 0xC1, 0xC2)  # baseline, extended, progressive
REDUCTIONS = (8, 4, 2)  # by these, libjpeg decodes coefficients of a block of 8x8 to fewer pixels
_HOLE = bytes(64)
# How many codes have 1 to 16 bits: the luminance AC table of annex K of the standard, which most encoders use.
_USUAL_CODES = bytes([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125])
_EXIF = b'Exif\x00\x00'
# What libjpeg says of files that are whole: colors that simplejpeg can't convert, and headers that are out of order.
_HARMLESS = ('color conversion', 'Adobe', 'JFIF', 'SOS parameters')


def is_truncated(content: bytes) -> bool:
    """Whether a JPEG file stops before its end."""
    return not (content.endswith(b'\xff\xd9') or _reaches_end(content))  # nearly always the cheap test decides


def _reaches_end(content: bytes) -> bool:
    """Walk the segments, since a thumbnail within has an end of its own and files may go on after theirs."""
    return any(marker == _END_OF_IMAGE for marker, _, _ in _segments(content))


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; that of a scan ends where its entropy-coded data does."""
    position = 2
    while position + 2 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _END_OF_IMAGE:
            yield marker, position, position + 2
            return
        if marker == 0xFF:  # padding
            position += 1
            continue
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], 'big')
        if marker == _START_OF_SCAN:
            found = _MARKER_IN_SCAN.search(content, end)
            end = found.start() if found else len(content)
        yield marker, position, end
        position = end


def has_hole(content: bytes) -> bool:
    """Whether zeros fill a part of the image data, as in a sector of a disk that was never written.

    Where the Huffman codes are the usual ones, so many zeros are blocks in which each coefficient is -1: no picture has
    them, but a decoder finds nothing wrong. Other codes may mean a plain area by zeros, and so do progressive files.
    """
    if _HOLE not in content:  # nearly always; metadata may have zeros too
        return False
    frame = 0
    for marker, start, end in _segments(content):
        if marker in _FRAMES:
            frame = marker
        elif marker == _START_OF_SCAN:
            return frame == _BASELINE and _USUAL_CODES in content[:start] and content.find(_HOLE, start, end) >= 0
    return False


def stored_size(content: bytes) -> tuple[int, int] | None:
    """(h, w) of a JPEG file before it is turned as EXIF says; None where no frame tells it."""
    for marker, start, _ in _segments(content):
        if marker in _FRAMES:
            # after the marker and the length of the segment there are the bits of a sample, then both sides
            height = int.from_bytes(content[start + 5 : start + 7], 'big')
            width = int.from_bytes(content[start + 7 : start + 9], 'big')
            return (height, width) if height and width else None
        if marker == _START_OF_SCAN:
            return None
    return None


def reduction_for(size: tuple[int, int], needed: tuple[int, int]) -> int:
    """The largest of 1, 2, 4 and 8 by which both sides of a picture can be divided and still be those ``needed``.

    Longer sides are compared with longer ones, shorter with shorter ones.
    """
    longer = max(size) / max(needed)
    shorter = min(size) / min(needed)
    return next((factor for factor in REDUCTIONS if factor <= min(longer, shorter)), 1)


def decode_jpeg(content: bytes, color_type: str, path: str, strict: bool, reduction: int = 1) -> np.ndarray | None:
    """Decode a JPEG file as `decode_image` describes it, at 1 / ``reduction`` of its size, rounded up.

    Returns:
        The picture, or None if another decoder has to do it: the colors are unusual, or the file is damaged and that
        has been warned of.

    Raises:
        ImageError: The file is damaged, and ``strict`` is set.
    """
    if has_hole(content):
        _tell_damage(path, f'{len(_HOLE)} zeros in a row stand in place of it', strict)
        return None
    if simplejpeg is None:
        return None
    try:
        stored_gray = color_type == 'unchanged' and simplejpeg.decode_jpeg_header(content)[2] == 'Gray'
        gray = stored_gray or color_type.startswith('grayscale')
        img = simplejpeg.decode_jpeg(content, 'GRAY' if gray else 'BGR', **_limits(content, reduction))
    except ValueError as error:
        if not any(words in str(error) for words in _HARMLESS):
            _tell_damage(path, f'libjpeg says: {error}', strict)
        return None
    img = img[..., 0] if gray else img
    if color_type == 'unchanged' or color_type.endswith('ignore_orientation'):
        return img
    return _UPRIGHT[read_orientation(content)](img)


def _limits(content: bytes, reduction: int) -> dict[str, int]:
    """The arguments of simplejpeg for which it decodes at 1 / ``reduction`` of the size."""
    size = stored_size(content) if reduction > 1 else None
    # it takes the smallest of its sizes (n / 8) that isn't below these
    return {} if size is None else dict(min_height=-(-size[0] // reduction), min_width=-(-size[1] // reduction))


def _tell_damage(path: str, reason: str, strict: bool) -> None:
    """Raise or, unless ``strict`` is set, warn; ``reason`` is like 'libjpeg says: Corrupt JPEG data: ...'."""
    damage = f'its JPEG data is damaged, so that a part of the picture is wrong ({reason})'
    if strict:
        raise ImageError(path, damage)
    warn(f'{path}: {damage}; it is used as far as it can be decoded.')


def read_orientation(content: bytes) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1, as it is stored, if there is none."""
    if content.startswith(START) and _EXIF not in content[: 1 << 16]:  # spares most files the call of Pillow
        return 1
    from PIL import Image

    try:
        orientation = Image.open(io.BytesIO(content)).getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # not known to Pillow, or damaged, which decoding tells
        return 1
    return orientation if orientation in _UPRIGHT else 1


# From the stored to the shown picture, by EXIF orientation.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda img: img,
    2: lambda img: cv2.flip(img, 1),
    3: lambda img: cv2.rotate(img, cv2.ROTATE_180),
    4: lambda img: cv2.flip(img, 0),
    5: cv2.transpose,
    6: lambda img: cv2.rotate(img, cv2.ROTATE_90_CLOCKWISE),
    7: lambda img: cv2.flip(cv2.transpose(img), -1),
    8: lambda img: cv2.rotate(img, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
