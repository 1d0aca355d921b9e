"""Rotations of the whole image, and rectangles cut out of it in another size: augmentations that Detectron2 has."""

import math
from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.transforms.base import check_range, image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Warp

SAMPLE_STYLES = ('range', 'choice')


@TRANSFORMS.register_module()
class RandomRotation(GeometricTransform):
    """Rotate the image about a point; what comes in is black.

    Boxes become those around the rotated ones. Instances wholly outside the new image are dropped.

    Args:
        angle: Degrees, counter-clockwise: (least, largest) for the style 'range', a list to choose from for 'choice'.
            One number is always taken.
        expand: Enlarge the image, so that nothing of it is lost. Without, it keeps its size.
        center: About which point the image turns, as parts of its width and height: ((x, y), (x, y)), between which
            it is drawn for 'range', or a list of points for 'choice'. The center of the image if None. Has no effect
            together with ``expand``.
        sample_style: 'range' or 'choice'.

    Raises:
        ConfigError: ``sample_style`` is unknown, or ``angle`` or ``center`` doesn't fit it.
    """

    edge = Edge(clip=True)

    def __init__(
        self,
        angle: float | Sequence[float],
        expand: bool = True,
        center: Sequence[Sequence[float]] | None = None,
        sample_style: str = 'range',
    ) -> None:
        if sample_style not in SAMPLE_STYLES:
            raise ConfigError(f'sample_style={sample_style!r} is unknown; expected one of {", ".join(SAMPLE_STYLES)}.')
        self.angle = angle
        self.expand = expand
        self.center = center
        self.sample_style = sample_style
        self._angles = [angle, angle] if isinstance(angle, (int, float)) else list(angle)
        for name, values in (('angle', self._angles), ('center', center)):
            if values is not None and (len(values) == 0 or (sample_style == 'range' and len(values) != 2)):
                wanted = 'a lower and an upper end' if sample_style == 'range' else 'some to choose from'
                raise ConfigError(f'RandomRotation: {name}={values} has to be {wanted} for {sample_style!r}.')

    def draw(self, results: dict) -> Warp | None:
        source = image_size(results)
        angle = float(self._draw(self._angles))
        if angle % 360 == 0:
            return None
        center = (0.5, 0.5) if self.center is None else self._draw(self.center)
        return rotation(source, angle, self.expand, center)

    def _draw(self, values: Sequence) -> np.ndarray:
        if self.sample_style == 'choice':
            return np.asarray(values[np.random.randint(len(values))])
        return np.random.uniform(values[0], values[1])

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)


def rotation(
    size: tuple[int, int],
    angle: float,
    expand: bool = True,
    center: Sequence[float] = (0.5, 0.5),
    interpolation: str = 'bilinear',
) -> Warp:
    """Turn an image counter-clockwise.

    Args:
        size: (h, w) of the image.
        angle: In degrees.
        expand: Enlarge the image to the smallest that holds all of it. Without, it keeps its size.
        center: Point (x, y) about which it turns, as parts of its sides. Without effect together with ``expand``.
        interpolation: Of the image.

    Returns:
        The map, whose ``inverse`` turns the image back to its old size.
    """
    height, width = size
    # exact for quarter turns, where cos is 6e-17 and would enlarge an image by a pixel
    cos = round(math.cos(math.radians(angle)), 12)
    sin = round(math.sin(math.radians(angle)), 12)
    linear = np.array([[cos, sin], [-sin, cos]])  # y points down, so that this turns counter-clockwise
    pivot = np.array([width / 2, height / 2]) if expand else np.array(center) * (width, height)
    new_size = size
    target = pivot
    if expand:
        new_size = (math.ceil(abs(width * sin) + abs(height * cos)), math.ceil(abs(height * sin) + abs(width * cos)))
        target = np.array([new_size[1] / 2, new_size[0] / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = target - linear @ pivot
    return Warp.affine(matrix, new_size, size, interpolation)


@TRANSFORMS.register_module()
class RandomExtent(GeometricTransform):
    """Cut out a rectangle of random size that is shifted at random from the center; black where it leaves the image.

    The new image has as many pixels as the rectangle, so its size varies. Instances wholly outside are dropped.

    Args:
        scale_range: (lower, upper) of the factor of both sides.
        shift_range: (x, y): the center moves by up to half of so many parts of width and height, either way.
    """

    edge = Edge(clip=True)

    def __init__(self, scale_range: tuple[float, float], shift_range: tuple[float, float]) -> None:
        self.scale_range = check_range('scale_range', scale_range)
        if scale_range[0] == 0:
            raise ConfigError(f'RandomExtent: scale_range={scale_range} has to be above 0.')
        if len(shift_range) != 2 or min(shift_range) < 0:
            raise ConfigError(f'RandomExtent: shift_range={shift_range} has to be two numbers of 0 or more.')
        self.shift_range = shift_range

    def draw(self, results: dict) -> Warp:
        height, width = image_size(results)
        scale = np.random.uniform(*self.scale_range)
        shift_x = np.random.uniform(-self.shift_range[0], self.shift_range[0])
        shift_y = np.random.uniform(-self.shift_range[1], self.shift_range[1])
        center_x = width / 2 * (1 + shift_x)
        center_y = height / 2 * (1 + shift_y)
        half_w = width * scale / 2
        half_h = height * scale / 2
        rectangle = (center_x - half_w, center_y - half_h, center_x + half_w, center_y + half_h)
        return extent((height, width), rectangle, (max(int(2 * half_h), 1), max(int(2 * half_w), 1)))

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)


def extent(
    size: tuple[int, int], rectangle: Sequence[float], output_size: tuple[int, int], interpolation: str = 'bilinear'
) -> Warp:
    """Cut a rectangle out of an image and stretch it.

    Args:
        size: (h, w) of the image.
        rectangle: x1, y1, x2, y2 in pixels; may reach outside.
        output_size: (h, w) of the new image.
        interpolation: Of the image.
    """
    x1, y1, x2, y2 = rectangle
    if x1 >= x2 or y1 >= y2:
        raise ConfigError(f'extent: rectangle={tuple(rectangle)} has to be x1, y1, x2, y2 with x1 < x2 and y1 < y2.')
    scale_x = output_size[1] / (x2 - x1)
    scale_y = output_size[0] / (y2 - y1)
    matrix = np.array([[scale_x, 0, -x1 * scale_x], [0, scale_y, -y1 * scale_y], [0, 0, 1]])
    return Warp.affine(matrix, output_size, size, interpolation)
