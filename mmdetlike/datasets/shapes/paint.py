"""Colors and textures of the generated pictures. Integer arithmetic only, so that pixels never vary."""

import cv2
import numpy as np

Random = np.random.RandomState


def paint_background(height: int, width: int, random: Random) -> np.ndarray:
    """A dull, cluttered (height, width, 3) uint8 picture: a gradient, blotches, blobs, lines and noise."""
    image = _blotches(height, width, random)
    for _ in range(random.randint(2, 7)):
        _blob(image, random)
    for _ in range(random.randint(3, 10)):
        _line(image, random)
    noise = random.randint(0, 19, (height, width, 1), dtype=np.uint8)
    return np.clip(image, 9, 246) + noise - np.uint8(9)


def tint_ground(image: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """``image`` (h, w, 3) with green soil where ``ground`` (h, w) is set and a blue haze elsewhere."""
    shift = np.where(ground[..., None], np.array([-50, 15, -25]), np.array([45, 5, -15]))
    return np.clip(image + shift, 0, 255).astype(np.uint8)


def _dull(random: Random) -> np.ndarray:
    return (random.randint(50, 176) + random.randint(-22, 23, 3)).astype(np.int64)


def _blotches(height: int, width: int, random: Random) -> np.ndarray:
    cells = random.randint(2, 6, 2)
    base = _dull(random) + random.randint(-28, 29, (*cells, 3))
    coarse = np.clip(base, 0, 255).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)


def _point(image: np.ndarray, random: Random) -> tuple[int, int]:
    return int(random.randint(image.shape[1])), int(random.randint(image.shape[0]))


def _blob(image: np.ndarray, random: Random) -> None:
    """A dull slanted ellipse: round like a circle, yet without its bright colors."""
    x, y = _point(image, random)
    color = np.clip(_dull(random), 0, 255)
    a, b = (int(n) for n in random.randint(3, max(4, min(image.shape[:2]) // 6), 2))
    slant = int(random.randint(-4, 5))
    reach = a + b  # to the sides, with the slant
    left = max(x - reach, 0)
    top = max(y - b, 0)
    window = image[top : y + b + 1, left : x + reach + 1]
    rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
    down = rows + (top - y)
    across = 4 * (columns + (left - x)) + slant * down
    window[(across * b) ** 2 + (4 * down * a) ** 2 <= (4 * a * b) ** 2] = color


def _line(image: np.ndarray, random: Random) -> None:
    start = _point(image, random)
    end = _point(image, random)
    color = tuple(int(c) for c in np.clip(_dull(random), 0, 255))
    cv2.line(image, start, end, color, int(random.randint(1, 3)), cv2.LINE_8)


def soften(image: np.ndarray) -> np.ndarray:
    """Average each pixel with its two neighbors, 6 : 1 : 1, along both axes: edges as a camera sees them."""
    blurred = image.astype(np.uint16)
    for axis in (0, 1):
        padded = np.pad(blurred, [(int(axis == k), int(axis == k)) for k in range(3)], mode='edge')
        ahead, behind = (padded[2:], padded[:-2]) if axis == 0 else (padded[:, 2:], padded[:, :-2])
        blurred = (6 * blurred + ahead + behind + 4) >> 3  # a division by 8, rounded
    return blurred.astype(np.uint8)


def paint_shape(window: np.ndarray, seen: np.ndarray, random: Random) -> None:
    """Paint the pixels ``seen`` (h, w) of ``window`` (h, w, 3) in a bright color with a texture."""
    light, dark = _bright(random)
    share = TEXTURES[random.randint(len(TEXTURES))](*seen.shape, random)[..., None]
    color = (light * share + dark * (256 - share)) >> 8
    window[seen] = color[seen].astype(np.uint8)


def _bright(random: Random) -> tuple[np.ndarray, np.ndarray]:
    """A saturated BGR color and a darker variant of it."""
    channels = np.array([random.randint(215, 256), random.randint(0, 256), random.randint(0, 45)], dtype=np.int64)
    light = channels[random.permutation(3)]
    return light, light * int(random.randint(35, 65)) // 100


# Textures: int64 (h, w) in [0, 256], the share of the lighter color.
def _solid(height: int, width: int, random: Random) -> np.ndarray:
    return np.full((height, width), random.randint(160, 257), dtype=np.int64)


def _stripes(height: int, width: int, random: Random) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    along = ((1, 0), (0, 1), (1, 1), (1, -1))[random.randint(4)]
    period = int(random.randint(6, 11))
    return np.where((along[0] * y + along[1] * x) % period * 2 < period, 256, 60) + np.zeros((height, width), np.int64)


def _dots(height: int, width: int, random: Random) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    period = int(random.randint(6, 10))
    near = (2 * (y % period) - period) ** 2 + (2 * (x % period) - period) ** 2
    return np.where(2 * near < period**2, 40, 256)


def _noise(height: int, width: int, random: Random) -> np.ndarray:
    return random.randint(90, 257, (height, width)).astype(np.int64)


def _gradient(height: int, width: int, random: Random) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    down = 256 * y // height
    across = 256 * x // width
    if random.randint(2):
        down = 256 - down
    return (down + across) // 2


TEXTURES = (_solid, _stripes, _dots, _noise, _gradient)
