"""Geometric transforms of a given magnitude, from which automatic augmentation chooses (see ``enhance``)."""

import math
from abc import abstractmethod

import numpy as np

from mmdetlike.datasets.transforms.base import check_probability, check_range, image_size
from mmdetlike.datasets.transforms.enhance import check_level, draw_magnitude
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Fill, Warp


class GeomTransform(GeometricTransform):
    """Shear, rotate or translate an image with a probability, one way or the other; its size stays.

    Boxes are cut at the edge, those wholly outside dropped. A subclass supplies ``matrix``.

    Args:
        prob: The probability.
        level: 0 to 10, from ``min_mag`` to ``max_mag``; None for a random magnitude each time.
        min_mag: Least magnitude.
        max_mag: Largest magnitude; None for ``default_max_mag``.
        reversal_prob: The probability of the other way, a negative magnitude.
        img_border_value: What fills new pixels of the image, one number or one a channel.
        mask_border_value: What fills new pixels of masks.
        seg_ignore_label: What fills new pixels of the label map.
        interpolation: Of pixels.
    """

    default_max_mag = 1.0

    def __init__(
        self,
        prob: float = 1.0,
        level: int | None = None,
        min_mag: float = 0.0,
        max_mag: float | None = None,
        reversal_prob: float = 0.5,
        img_border_value: Fill = 128,
        mask_border_value: int = 0,
        seg_ignore_label: int = 255,
        interpolation: str = 'bilinear',
    ) -> None:
        self.prob = check_probability(prob)
        self.level = check_level(level)
        largest = self.default_max_mag if max_mag is None else max_mag
        self.min_mag, self.max_mag = check_range('(min_mag, max_mag)', (min_mag, largest))
        self.reversal_prob = check_probability(reversal_prob, 'reversal_prob')
        self.interpolation = interpolation
        fill = img_border_value if np.isscalar(img_border_value) else tuple(img_border_value)
        self.edge = Edge(img=fill, seg=seg_ignore_label, masks=mask_border_value, clip=True)

    @abstractmethod
    def matrix(self, magnitude: float, height: int, width: int) -> np.ndarray:
        """The matrix (3, 3), over continuous coordinates, of the transform at a magnitude."""

    def draw(self, results: dict) -> Warp | None:
        if np.random.uniform() >= self.prob:
            return None
        magnitude = draw_magnitude(self.level, self.min_mag, self.max_mag)
        if np.random.uniform() < self.reversal_prob:
            magnitude = -magnitude
        size = image_size(results)
        return Warp.affine(self.matrix(magnitude, *size), size, size, self.interpolation)

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)


@TRANSFORMS.register_module()
class ShearX(GeomTransform):
    """Shear along x; the magnitude is an angle in degrees. The top of the image stays."""

    default_max_mag = 30.0

    def matrix(self, magnitude: float, height: int, width: int) -> np.ndarray:
        return np.array([[1, math.tan(math.radians(magnitude)), 0], [0, 1, 0], [0, 0, 1]])


@TRANSFORMS.register_module()
class ShearY(GeomTransform):
    """Shear along y; the magnitude is an angle in degrees. The left side of the image stays."""

    default_max_mag = 30.0

    def matrix(self, magnitude: float, height: int, width: int) -> np.ndarray:
        return np.array([[1, 0, 0], [math.tan(math.radians(magnitude)), 1, 0], [0, 0, 1]])


@TRANSFORMS.register_module()
class Rotate(GeomTransform):
    """Rotate clockwise about the center; the magnitude is an angle in degrees."""

    default_max_mag = 30.0

    def matrix(self, magnitude: float, height: int, width: int) -> np.ndarray:
        sine = math.sin(math.radians(magnitude))
        cosine = math.cos(math.radians(magnitude))
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        to_center = np.eye(3)
        back = np.eye(3)
        to_center[:2, 2] = -width / 2, -height / 2
        back[:2, 2] = width / 2, height / 2
        return back @ rotation @ to_center


@TRANSFORMS.register_module()
class TranslateX(GeomTransform):
    """Shift along x; the magnitude is a share of the width."""

    default_max_mag = 0.1

    def matrix(self, magnitude: float, height: int, width: int) -> np.ndarray:
        return np.array([[1, 0, magnitude * width], [0, 1, 0], [0, 0, 1]])


@TRANSFORMS.register_module()
class TranslateY(GeomTransform):
    """Shift along y; the magnitude is a share of the height."""

    default_max_mag = 0.1

    def matrix(self, magnitude: float, height: int, width: int) -> np.ndarray:
        return np.array([[1, 0, 0], [0, 1, magnitude * height], [0, 0, 1]])
