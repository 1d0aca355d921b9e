"""TIFF files: what their tags tell of bit depth and pages, and damage that decoders pass over.

Tags of damaged files make Pillow raise whatever it runs into, hence each ``except Exception``.
"""

import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmdetlike.datasets.errors import ImageError, warn_once

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

START = (b'II*\x00', b'MM\x00*', b'II+\x00', b'MM\x00+')
_BIG = (b'II+\x00', b'MM\x00+')  # with offsets of 64 bits
# numbers of tags
_BITS_PER_SAMPLE = 258
_COMPRESSION = 259
_KIND_OF_PAGE = 254
_ORIENTATION = 274
_DATA_TAGS = ((273, 279), (324, 325))  # offsets and lengths of strips, and of tiles
_DEFLATE = (8, 32946)
_SMALLER_COPY = 1


def bits_per_sample(content: bytes) -> int:
    """Bits a channel; the largest number if channels differ."""
    try:
        return max(_directory(content).get(_BITS_PER_SAMPLE, (1,)))
    except Exception:
        return 64  # more than Pillow decodes: what is unknown is left to OpenCV


def check_data(content: bytes, path: str) -> None:
    """Look at the strips or tiles of the first page, before a decoder fills what is damaged with something.

    Raises:
        ImageError: They lie behind the end of the file, or are deflated and have another checksum than they say. Other
            kinds of compression have none.
    """
    view = memoryview(content)
    deflated, pieces = _pieces(content)
    for number, (start, length) in enumerate(pieces, 1):
        if start + length > len(content):
            raise ImageError(path, f'the file is truncated after {len(content)} bytes')
        if deflated and length:
            try:
                zlib.decompress(view[start : start + length])
            except zlib.error as error:
                damage = f'its TIFF data is damaged, so that a part of the picture is wrong (strip {number}: {error})'
                raise ImageError(path, damage) from error


def _pieces(content: bytes) -> tuple[bool, list[tuple[int, int]]]:
    """Whether the data of the first page is deflated, and where its strips or tiles start and how long they are."""
    try:
        directory = _directory(content)
        deflated = directory.get(_COMPRESSION, 1) in _DEFLATE
        pieces = [pair for tags in _DATA_TAGS for pair in zip(*(directory.get(tag, ()) for tag in tags))]
    except Exception:  # a decoder says it better
        return False, []
    return deflated, pieces


def _directory(content: bytes) -> 'ImageFileDirectory_v2':
    """The tags of the first page, of kinds of pictures that Pillow doesn't know, too."""
    return _directory_of(io.BytesIO(content))


def _directory_of(stream: BinaryIO) -> 'ImageFileDirectory_v2':
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    head = stream.read(16)
    directory = ImageFileDirectory_v2(head[: 16 if head.startswith(_BIG) else 8])
    stream.seek(directory.next)
    directory.load(stream)
    return directory


def is_turned(path: str | Path) -> bool:
    """Whether a file says that it is to be shown turned or mirrored; of a large one only the tags are read."""
    try:
        with open(path, 'rb') as stream:
            return _directory_of(stream).get(_ORIENTATION, 1) != 1
    except Exception:  # a decoder says it better
        return False


def is_truncated(content: bytes) -> bool:
    """Whether the tags of the first page, which many programs write last, go on behind the end of the file."""
    order = 'little' if content.startswith(b'II') else 'big'
    is_big = content.startswith(_BIG)
    start = int.from_bytes(content[8:16] if is_big else content[4:8], order)
    count_size = 8 if is_big else 2
    count = int.from_bytes(content[start : start + count_size], order)
    end = start + count_size + count * (20 if is_big else 12)
    return not (start > 0 and count > 0 and end <= len(content))


def is_known_to_pillow(content: bytes) -> bool:
    """Whether Pillow has a kind of pictures for it, as it has for most of 8 bits."""
    from PIL import Image

    try:
        Image.open(io.BytesIO(content))
    except Exception:
        return False
    return True


def warn_of_pages(content: bytes, path: str) -> None:
    """Say so where a file has more pictures than the one that is read, as stacks of microscopes do."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as img:
            count = img.n_frames
            img.seek(min(1, count - 1))
            is_copy = img.tag_v2.get(_KIND_OF_PAGE, 0) & _SMALLER_COPY
    except Exception:  # kinds that OpenCV alone reads
        return
    if count > 1 and not is_copy:
        tell_pages(path, count)


def tell_pages(path: str, count: int) -> None:
    """Say how many pages a file has."""
    message = f'{path} has {count} pages, of which the first is read: store each page as a file of its own.'
    warn_once(message, key='pages')
