"""Pictures of any depth and any number of channels, as they can be looked at."""

import numpy as np

_OVERSHOOT = 1000  # pictures of 8 bits may get a little above 255 by resizing, those of more bits get far above


def picture_of_pixels(image: np.ndarray) -> np.ndarray:
    """The RGB picture (h, w, 3), uint8, of an image as pipelines have it; a copy to draw on.

    Of more than 8 bits it reaches from the darkest value to the brightest; floating point within 0 to 1 is taken for
    shares of 255.

    Args:
        image: (h, w) or (h, w, c) of any type, the channels in the order B, G, R; of one or two the first is shown, of
            more than three the first three.
    """
    channels = image[..., None] if image.ndim == 2 else image
    channels = channels[..., 2::-1] if channels.shape[2] >= 3 else channels[..., [0, 0, 0]]
    # float32 pictures of 8 bits, as after resizing, come here, too
    return np.array(channels if channels.dtype == np.uint8 else _as_bytes(channels), order='C')


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    is_float = picture.dtype.kind == 'f'
    picture = picture.astype(np.float32)
    low = float(picture.min(initial=0))
    high = float(picture.max(initial=0))
    if high > _OVERSHOOT:
        picture = (picture - low) * (255 / (high - low))
    elif is_float and low >= 0 and 0 < high <= 1:
        picture = picture * 255
    return np.clip(picture, 0, 255).astype(np.uint8)
