"""The size of a picture on disk, from its header."""

import io

from mmengine import fileio
from PIL import Image

from .errors import ImageError

_ORIENTATION_TAG = 0x0112  # of EXIF
_FIRST_ON_ITS_SIDE = 5  # orientations 5 to 8 turn by a quarter, which exchanges width and height


def picture_size(path: str, backend_args: dict | None = None) -> tuple[int, int]:
    """Width and height in pixels, turned as EXIF says, which is how pictures are loaded.

    Raises:
        ImageError: There is no such file, or it isn't a picture.
    """
    try:
        # A local file is opened, not read: its header is enough.
        source = path if backend_args is None else io.BytesIO(fileio.get(path, backend_args=backend_args))
        with Image.open(source) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION_TAG, 1) >= _FIRST_ON_ITS_SIDE
    except FileNotFoundError:
        raise ImageError(path, 'there is no such file') from None
    except Exception as error:  # damaged headers raise whatever the format's reader runs into
        raise ImageError(path, 'not an image') from error
    return (height, width) if turned else (width, height)
