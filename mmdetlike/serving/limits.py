"""What a server takes, and the sentence with which it refuses the rest."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

MEGABYTE = 1_000_000
# What files of pictures begin with tells these apart. Others that Pillow knows run programs (EPS calls Ghostscript), or
# hold pictures of another size than they say (ICO, ICNS).
FORMATS = ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'PPM', 'AVIF')


class Refusal(Exception):
    """A request that isn't served.

    Args:
        status: HTTP status, 4xx or 503.
        sentence: What was given and what was expected.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Args:
        size: Bytes of a request.
        pixels: Pixels of a picture: a file of a few kilobytes can hold billions.
        count: Requests that are answered at a time.
        seconds: For which a request may wait for its turn.
    """

    size: int = 20 * MEGABYTE
    pixels: int = 50 * MEGABYTE
    count: int = 500
    seconds: float = 60

    def check_size(self, size: int) -> None:
        """Raise a Refusal if a request has too many bytes."""
        if size > self.size:
            raise Refusal(413, f'the request has more than {self.size} bytes, the limit of this server')

    def check_picture(self, content: bytes) -> None:
        """Raise a Refusal unless bytes begin as a picture of a size that is taken; nothing is decoded yet."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of large pictures, which are looked at here
                with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                    width, height = picture.size
        except Image.DecompressionBombError as error:
            most = min(self.pixels, 2 * Image.MAX_IMAGE_PIXELS)  # Pillow's own limit
            raise Refusal(413, f'the picture has more pixels than {most}, the limit of this server') from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, OverflowError, MemoryError) as error:
            known = ', '.join(FORMATS)
            raise Refusal(415, f'the {len(content)} bytes are no picture of a known format ({known})') from error
        if width * height > self.pixels:
            raise Refusal(
                413, f'the picture has {width} x {height} pixels, more than {self.pixels}, the limit of this server'
            )
