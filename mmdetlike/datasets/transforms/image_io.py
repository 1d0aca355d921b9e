"""Decoding pictures to arrays, and honest errors for those that are damaged."""

import io
import os
import unicodedata
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import cv2
import numpy as np
from mmengine import fileio

from mmdetlike.datasets.errors import ImageError, warn
from mmdetlike.datasets.transforms import jpeg, tiff
from mmdetlike.datasets.transforms.depth import ValueRange, to_eight_bits

if TYPE_CHECKING:
    from PIL.Image import Image as PictureOfPillow

FLAGS = {
    'color': cv2.IMREAD_COLOR,
    'grayscale': cv2.IMREAD_GRAYSCALE,
    'unchanged': cv2.IMREAD_UNCHANGED,
    'color_ignore_orientation': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    'grayscale_ignore_orientation': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
}
# what files named like pictures hold instead, by a mark near their beginning
_NO_PICTURES = {
    b'version https://git-lfs': 'it is a pointer of Git LFS, not the picture: fetch that by "git lfs pull"',
    b'<html': 'it is a web page, as servers send instead of a picture',
    b'<!DOCTYPE html': 'it is a web page, as servers send instead of a picture',
    b'ftyphei': 'it is a HEIC picture, which neither OpenCV nor Pillow reads: convert it, to JPEG for instance',
    b'ftypmif1': 'it is a HEIC picture, which neither OpenCV nor Pillow reads: convert it, to JPEG for instance',
}
TURNED = ('color', 'grayscale')  # color types that turn a picture as EXIF says; the others keep it as it is stored
BACKENDS = ('cv2', 'pillow')
_PNG = b'\x89PNG\r\n\x1a\n'
LARGEST_LABEL = 254  # 255 means pixels that don't count
LARGEST_VALUE = 65535  # of label maps in which values aren't labels: they may be of 16 bits
_NUMPY = b'\x93NUMPY'
_PNG_BIT_DEPTH = 24  # the index of the byte that tells it
_EIGHT_BIT_STARTS = (jpeg.START, b'BM', b'GIF8', b'RIFF')


def read_image(
    path: str,
    color_type: str = 'color',
    backend: str = 'cv2',
    backend_args: dict | None = None,
    value_range: ValueRange = None,
    strict: bool = True,
) -> np.ndarray:
    """Read a picture from a path or URL that ``mmengine.fileio`` understands.

    Arguments and result are those of `decode_image`.

    Raises:
        ImageError: There is no such file, or it isn't a whole picture.
    """
    return decode_image(read_content(path, backend_args), color_type, backend, path, value_range, strict)


def labels_of_values(
    values: np.ndarray, label_map: dict[int, int] | None, reduce_zero_label: bool, ignore_index: int = 255
) -> np.ndarray:
    """The label of each pixel (h, w) of a label map, whose values may mean others than themselves.

    Args:
        values: As the file has them, 0 to ``LARGEST_VALUE``.
        label_map: The label of each value; the others get ``ignore_index``. None where values are labels.
        reduce_zero_label: 0 becomes ``ignore_index``, the others drop by 1; of maps without ``label_map``.
        ignore_index: The label of pixels that don't count.
    """
    if label_map is not None:
        labels = np.full(LARGEST_VALUE + 1, ignore_index, dtype=np.uint8)
        labels[list(label_map)] = list(label_map.values())
        return labels[values]
    if reduce_zero_label:
        # In uint8, 0 - 1 wraps around to 255, and 255 (to be ignored) must not drop by 1.
        return np.where((values == 0) | (values == 255), ignore_index, values - 1).astype(np.uint8)
    return values


def read_label_map(path: str, backend: str = 'cv2', backend_args: dict | None = None, largest: int = 255) -> np.ndarray:
    """Read a label map, (h, w): gray levels, or the indices of a palette.

    Args:
        path: The file.
        backend: One of ``BACKENDS``.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.
        largest: The largest value that it may have: 255 if values are labels, which are returned as uint8;
            ``LARGEST_VALUE`` if a ``label_map`` says what they mean, which are returned as uint16.

    Raises:
        ImageError: There is no such file, or it isn't a whole picture of one channel with such values.
    """
    content = read_content(path, backend_args)
    seg = _palette_indices(content)
    if seg is None:
        seg = decode_image(content, 'unchanged', backend, path)
    if seg.shape[2] > 1:
        raise ImageError(path, f'a label map needs one channel, but its shape is {seg.shape}')
    values = seg[..., 0].astype(np.uint8 if largest <= 255 else np.uint16)
    if not np.array_equal(values, seg[..., 0]):
        what = 'labels' if largest <= 255 else 'values'
        raise ImageError(path, f'{what} are whole numbers of 0 to {largest}, but it has {seg.min():g} to {seg.max():g}')
    return values


def _palette_indices(content: bytes) -> np.ndarray | None:
    """Indices (h, w, 1) of a picture with a palette; None if it has none, or is damaged, which decoding will report."""
    from PIL import Image

    try:
        img = Image.open(io.BytesIO(content))
        return np.asarray(img)[..., None] if img.mode == 'P' else None
    except Exception:
        return None


def read_orientation(path: str, backend_args: dict | None = None) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1, as it is stored, if there is none."""
    try:
        return jpeg.read_orientation(read_content(path, backend_args))
    except ImageError:  # there is no file: the picture was given as an array
        return 1


def read_content(path: str, backend_args: dict | None) -> bytes:
    """The encoded picture at a path or URL.

    Raises:
        ImageError: There is no such file; the message names one that may be meant.
    """
    try:
        return fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise ImageError(path, f'there is no such file{_near_miss(path)}') from None
    except OSError as error:
        raise ImageError(path, str(error)) from error


def _near_miss(path: str) -> str:
    """A hint at the file that a wrong path may mean, since other systems spell names in other ways; '' for none."""
    candidate = Path(path.replace('\\', '/'))
    if candidate.is_file():
        return f', but there is {candidate}: the name has backslashes, as Windows writes paths'
    if not candidate.parent.is_dir():
        return ''
    wanted = _spelling(candidate.name)
    found = next((entry.name for entry in os.scandir(candidate.parent) if _spelling(entry.name) == wanted), None)
    return '' if found is None else f', but there is {found!r}, of another spelling (upper case, accents or blanks)'


def _spelling(name: str) -> str:
    """A file name normalized for comparison: accents, case, blanks and %20 differ between systems and exporters."""
    return unicodedata.normalize('NFC', unquote(name)).casefold().strip()


def decode_image(
    content: bytes,
    color_type: str = 'color',
    backend: str = 'cv2',
    path: str = '<bytes>',
    value_range: ValueRange = None,
    strict: bool = True,
    reduction: int = 1,
) -> np.ndarray:
    """Decode a picture of any format that OpenCV or Pillow reads, or an array that numpy has saved (.npy).

    Args:
        content: The file's bytes.
        color_type: 'color': (h, w, 3) uint8, BGR, without alpha, rotated as EXIF says; 'grayscale': (h, w) uint8;
            one of these two with '_ignore_orientation'; or 'unchanged': (h, w, c) as stored, of any depth: 1 channel
            for gray levels, 3 (BGR) for colors, those of a palette, too, and 4 (BGRA) if there is transparency, with
            gray levels, too; any number in files of numpy.
        backend: 'cv2' or 'pillow'.
        path: Named in errors.
        value_range: Which values become 0 to 255 in files of more than 8 bits, unless 'unchanged'; see `to_eight_bits`.
        strict: Whether a JPEG or TIFF file that is damaged inside is an error; if not, a warning is logged and the
            picture is what could be decoded. In JPEG such damage goes unnoticed without the package simplejpeg.
        reduction: 2, 4 or 8 to decode a JPEG file at that part of its size, rounded up, in a fraction of the time;
            where that can't be done (other formats, unusual colors, no simplejpeg), the picture keeps its size.

    Raises:
        ImageError: The content isn't a whole picture.
        ValueError: ``color_type`` or ``backend`` is unknown.
    """
    check_decoder(color_type, backend)
    _check_whole(content, path)
    if content.startswith(tiff.START):
        tiff.warn_of_pages(content, path)
    img = _decode(content, color_type, backend, path, strict, reduction)
    if color_type == 'unchanged':
        return img[..., None] if img.ndim == 2 else img
    return to_eight_bits(img, value_range, path)


def check_decoder(color_type: str, backend: str) -> None:
    """Raise ``ValueError`` where `decode_image` doesn't know one of its settings."""
    if color_type not in FLAGS:
        raise ValueError(f'color_type={color_type!r} is unknown; expected one of {", ".join(FLAGS)}.')
    if backend not in BACKENDS:
        raise ValueError(f'imdecode_backend={backend!r} is unknown; expected one of {", ".join(BACKENDS)}.')


def _decode(content: bytes, color_type: str, backend: str, path: str, strict: bool, reduction: int) -> np.ndarray:
    """The picture in the channels that ``color_type`` wants, in the depth of the file."""
    if content.startswith(_NUMPY):
        return _decode_numpy(content, color_type, path)
    if content.startswith(tiff.START):
        return _decode_tiff(content, color_type, path, strict)
    if content.startswith(_PNG) and _stored_bits(content) > 8:
        backend = 'cv2'  # Pillow cuts colors to 8 bits
    is_jpeg = content.startswith(jpeg.START)
    img = jpeg.decode_jpeg(content, color_type, path, strict, reduction) if is_jpeg else None
    if img is None and backend == 'cv2':
        img = _decode_cv2(content, color_type, path)
    return _decode_pillow(content, color_type, path) if img is None else img


def _decode_tiff(content: bytes, color_type: str, path: str, strict: bool) -> np.ndarray:
    """The picture by the decoder that loses nothing, whatever the backend.

    Of 8 bits OpenCV fills what is damaged, multiplies colors by alpha and drops the alpha of gray levels; of 16 bits
    Pillow has no colors.
    """
    by_pillow = tiff.bits_per_sample(content) <= 8 and tiff.is_known_to_pillow(content)
    try:
        tiff.check_data(content, path)
        img = None if by_pillow else _decode_cv2(content, color_type, path)
        return _decode_pillow(content, color_type, path) if img is None else img
    except ImageError as error:
        img = None if strict else _decode_cv2(content, color_type, path)
        if img is None:
            raise
        warn(f'{error}; it is used as far as it can be decoded.')
        return img


def _decode_numpy(content: bytes, color_type: str, path: str) -> np.ndarray:
    try:
        img = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ImageError(path, f'numpy says: {error}') from error
    if img.dtype.kind not in 'uif' or img.ndim not in (2, 3) or img.size == 0:
        raise ImageError(path, f'expected numbers (h, w) or (h, w, c), it has shape {img.shape} of {img.dtype}')
    if color_type == 'unchanged':
        return img
    return _with_channels(img, color_type, path)


def _decode_cv2(content: bytes, color_type: str, path: str) -> np.ndarray | None:
    encoded = np.frombuffer(content, np.uint8)
    flag = FLAGS[color_type]
    bits = _stored_bits(content)
    try:
        if color_type == 'unchanged' or bits <= 8:
            return cv2.imdecode(encoded, flag)
        if bits <= 16:
            return cv2.imdecode(encoded, flag | cv2.IMREAD_ANYDEPTH)
        img = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)  # OpenCV makes no colors of 32 bits
    except cv2.error as error:
        raise ImageError(path, f'OpenCV says: {error.err}') from error
    return None if img is None else _with_channels(img, color_type, path)


def _stored_bits(content: bytes) -> int:
    """Bits a channel: 8, as much as 16, or more."""
    if content.startswith(_EIGHT_BIT_STARTS) or content[4:8] == b'ftyp':  # AVIF of more bits is scaled by OpenCV
        return 8
    if content.startswith(_PNG):
        return 16 if content[_PNG_BIT_DEPTH : _PNG_BIT_DEPTH + 1] == b'\x10' else 8
    return tiff.bits_per_sample(content) if content.startswith(tiff.START) else 16


def _with_channels(img: np.ndarray, color_type: str, path: str) -> np.ndarray:
    """An array (h, w) or (h, w, c) in BGR as one of (h, w, 3), or (h, w) for gray levels, in its own depth."""
    channels = img.shape[2] if img.ndim == 3 else 1
    if channels not in (1, 3, 4):
        raise ImageError(path, f'it has {channels} channels; set color_type="unchanged" to load them as they are')
    gray = img.reshape(img.shape[:2]) if channels == 1 else None
    if color_type.startswith('grayscale'):
        if gray is None:  # OpenCV converts no depth but these
            depth = img.dtype if img.dtype in (np.uint8, np.uint16, np.float32) else np.float32
            gray = cv2.cvtColor(np.ascontiguousarray(img[..., :3], dtype=depth), cv2.COLOR_BGR2GRAY)
        return gray
    return np.ascontiguousarray(img[..., :3] if gray is None else np.dstack([gray] * 3))


def _decode_pillow(content: bytes, color_type: str, path: str) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        img = Image.open(io.BytesIO(content))
        img.load()
    except Exception as error:  # damaged files raise whatever the reader of their format runs into
        raise ImageError(path, _unreadable(content, str(error))) from error
    if color_type == 'unchanged':
        return _all_channels(img)
    if 'ignore_orientation' not in color_type:
        img = ImageOps.exif_transpose(img)
    if img.mode.startswith(('I', 'F')):  # more than 8 bits, which Pillow would clip instead of scale
        return _with_channels(_native(img), color_type, path)
    if color_type.startswith('grayscale'):
        return np.asarray(img.convert('L'))
    return np.ascontiguousarray(np.asarray(img.convert('RGB'))[..., ::-1])


def _all_channels(img: 'PictureOfPillow') -> np.ndarray:
    """Pixels as OpenCV gives them for 'unchanged': gray levels (h, w), BGR, or BGRA if anything is transparent."""
    if img.mode == '1':
        return np.asarray(img.convert('L'))
    if img.mode.startswith(('L', 'I', 'F')) and not img.has_transparency_data and img.format != 'GIF':
        return _native(img)
    if img.has_transparency_data:
        return np.asarray(img.convert('RGBA'))[..., [2, 1, 0, 3]]
    return np.ascontiguousarray(np.asarray(img.convert('RGB'))[..., ::-1])


def _unreadable(content: bytes, error: str) -> str:
    known = next((what for mark, what in _NO_PICTURES.items() if mark in content[:64]), None)
    if known is not None:
        return known
    if 'identify' not in error:
        return f'Pillow says: {error}'
    many = ' (what has more than 4 channels can be stored by numpy, as .npy)' if content.startswith(tiff.START) else ''
    return f'it is damaged or of an unknown format{many}'


def _native(img: 'PictureOfPillow') -> np.ndarray:
    """The values of a Pillow image in the byte order of this machine."""
    values = np.asarray(img)
    return values.astype(values.dtype.newbyteorder('='), copy=False)


def _check_whole(content: bytes, path: str) -> None:
    """Check a file for signs of damage before it is decoded.

    Raises:
        ImageError: The file is empty, stops before its end, or has another checksum than it says.
    """
    if not content:
        raise ImageError(path, 'the file is empty')
    if _is_truncated(content):
        raise ImageError(path, f'the file is truncated after {len(content)} bytes')
    if content.startswith(_PNG):
        _check_png(content, path)


def _is_truncated(content: bytes) -> bool:
    if content.startswith(jpeg.START):
        return jpeg.is_truncated(content)
    if content.startswith(_PNG):
        return content.rfind(b'IEND') == -1
    if content.startswith(tiff.START):
        return tiff.is_truncated(content)
    if content.startswith(b'RIFF') and content[8:12] == b'WEBP':
        return int.from_bytes(content[4:8], 'little') + 8 > len(content)
    return False


def _check_png(content: bytes, path: str) -> None:
    """Compare the checksum of each critical chunk: OpenCV doesn't, and a wrong one costs a part of the picture."""
    position = len(_PNG)
    view = memoryview(content)
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(view[position : position + 4], 'big')
        name = bytes(view[position + 4 : position + 8])
        is_critical = name[:1].isupper()  # as the format has it
        if is_critical and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], 'big'):
            raise ImageError(path, f'its PNG data is damaged: the checksum of chunk {name.decode("latin-1")} is wrong')
        if name == b'IEND':
            return
        position = end + 4
    raise ImageError(path, f'the file is truncated after {len(content)} bytes')
