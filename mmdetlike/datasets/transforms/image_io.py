"""Encoded pictures to arrays, and honest errors for those that are damaged."""

import io
import re

import cv2
import numpy as np
from mmengine import fileio

from mmdetlike.datasets.errors import ImageError

FLAGS = {
    'color': cv2.IMREAD_COLOR,
    'grayscale': cv2.IMREAD_GRAYSCALE,
    'unchanged': cv2.IMREAD_UNCHANGED,
    'color_ignore_orientation': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    'grayscale_ignore_orientation': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
}
TURNED = ('color', 'grayscale')  # as EXIF says; by the other flags pictures stay as they are stored
BACKENDS = ('cv2', 'pillow')
_JPEG, _PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'
# In entropy-coded data 0xFF is followed by 0 (stuffing), a restart marker or another 0xFF (padding).
_MARKER_IN_SCAN = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
_ORIENTATION_TAG = 0x0112
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def read_image(
    path: str, color_type: str = 'color', backend: str = 'cv2', backend_args: dict | None = None
) -> np.ndarray:
    """Read a picture from a path or URL that ``mmengine.fileio`` understands.

    Arguments and result are those of `decode_image`.

    Raises:
        ImageError: There is no such file, or it isn't a whole picture.
    """
    return decode_image(_read_bytes(path, backend_args), color_type, backend, path)


def read_label_map(path: str, backend: str = 'cv2', backend_args: dict | None = None) -> np.ndarray:
    """Read a label map, (h, w) uint8: gray levels, or the indices of a palette.

    Raises:
        ImageError: There is no such file, or it isn't a whole picture of one channel.
    """
    content = _read_bytes(path, backend_args)
    seg = decode_image(content, 'unchanged', backend, path)
    if seg.ndim == 3:  # OpenCV replaces the indices of a palette by its colours
        seg = decode_image(content, 'unchanged', 'pillow', path)
    if seg.ndim == 3:
        raise ImageError(path, f'a label map needs one channel, but its shape is {seg.shape}')
    return seg.astype(np.uint8)


def read_orientation(path: str, backend_args: dict | None = None) -> int:
    """How a picture is to be turned when it is shown, 1 to 8 as EXIF numbers it; 1, as it is, if nothing is said."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(_read_bytes(path, backend_args))).getexif().get(_ORIENTATION_TAG, 1)
    except (ImageError, OSError, ValueError, SyntaxError):  # not known to Pillow
        return 1


def _read_bytes(path: str, backend_args: dict | None) -> bytes:
    try:
        return fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise ImageError(path, 'there is no such file') from None
    except OSError as error:
        raise ImageError(path, str(error)) from error


def decode_image(content: bytes, color_type: str = 'color', backend: str = 'cv2', path: str = '<bytes>') -> np.ndarray:
    """Decode a picture of any format that OpenCV or Pillow reads.

    Args:
        content: The file's bytes.
        color_type: 'color': (h, w, 3) uint8, BGR, without alpha, 16 bits scaled down to 8, rotated as EXIF says;
            'grayscale': (h, w) uint8; 'unchanged': as stored; or one of the former two with '_ignore_orientation'.
        backend: 'cv2' or 'pillow'.
        path: Named in errors.

    Raises:
        ImageError: The content isn't a whole picture.
    """
    if not content:
        raise ImageError(path, 'the file is empty')
    if _is_truncated(content):
        raise ImageError(path, f'the file is truncated after {len(content)} bytes')
    try:
        img = cv2.imdecode(np.frombuffer(content, np.uint8), FLAGS[color_type]) if backend == 'cv2' else None
    except cv2.error as error:
        raise ImageError(path, f'OpenCV says: {error.err}') from error
    return _decode_pillow(content, color_type, path) if img is None else img


def _decode_pillow(content: bytes, color_type: str, path: str) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        img = Image.open(io.BytesIO(content))
        img.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = 'it is damaged or of an unknown format' if 'identify' in str(error) else f'Pillow says: {error}'
        raise ImageError(path, reason) from error
    if color_type == 'unchanged':
        return np.asarray(img)[..., ::-1] if img.mode == 'RGB' else np.asarray(img)
    if 'ignore_orientation' not in color_type:
        img = ImageOps.exif_transpose(img)
    if img.mode.startswith('I'):  # 16 bits, which Pillow would clip instead of scale
        img = Image.fromarray((np.asarray(img) >> 8).astype(np.uint8))
    if color_type.startswith('grayscale'):
        return np.asarray(img.convert('L'))
    return np.ascontiguousarray(np.asarray(img.convert('RGB'))[..., ::-1])


def _is_truncated(content: bytes) -> bool:
    if content.startswith(_JPEG):
        return not (content.endswith(b'\xff\xd9') or _reaches_end_of_jpeg(content))
    if content.startswith(_PNG):
        return content.rfind(b'IEND') == -1
    if content.startswith(b'RIFF') and content[8:12] == b'WEBP':
        return int.from_bytes(content[4:8], 'little') + 8 > len(content)
    return False


def _reaches_end_of_jpeg(content: bytes) -> bool:
    """Walk the segments, since a thumbnail within has an end of its own and files may go on after theirs."""
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker == 0xFF:  # padding
            position += 1
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], 'big')
        if marker == _START_OF_SCAN:
            found = _MARKER_IN_SCAN.search(content, position)
            position = found.start() if found else len(content)
    return content[position : position + 2] == b'\xff\xd9'
