"""Transforms that shift, rotate, scale and shear."""

import math

import numpy as np

from mmdetlike.datasets.transforms.base import check_probability, check_range, image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Warp


@TRANSFORMS.register_module()
class RandomShift(GeometricTransform):
    """Shift by whole pixels; what comes in is black. An image that would lose all its boxes stays as it is.

    Args:
        prob: Probability of doing anything.
        max_shift_px: The largest shift along each axis.
        filter_thr_px: Boxes of which no more than so many pixels of width or height remain are dropped.
    """

    keeps_images = True

    edge = Edge(clip=True)

    def __init__(self, prob: float = 0.5, max_shift_px: int = 32, filter_thr_px: int = 1) -> None:
        if max_shift_px < 0 or filter_thr_px < 0:
            raise ValueError(f'Pixels must be 0 or more, got {max_shift_px=} and {filter_thr_px=}.')
        self.prob = check_probability(prob)
        self.max_shift_px = int(max_shift_px)
        self.filter_thr_px = filter_thr_px

    def draw(self, results: dict) -> Warp | None:
        if np.random.uniform() >= self.prob:
            return None
        x0, y0 = np.random.randint(-self.max_shift_px, self.max_shift_px + 1, size=2)
        height, width = image_size(results)
        warp = Warp.window((height, width), x0, y0, height, width)
        boxes = results.get('gt_bboxes')
        loses_all = boxes is not None and len(boxes) and not self.keeps(warp.boxes(boxes), warp).any()
        return None if loses_all else warp

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp, self.filter_thr_px)


@TRANSFORMS.register_module()
class RandomAffine(GeometricTransform):
    """Scale, rotate, shear (about the image's top left corner) and translate at random, in this order.

    Instances wholly outside the new image are dropped.

    Args:
        max_rotate_degree: Largest rotation either way.
        max_translate_ratio: Largest shift either way, as a fraction of the image's side.
        scaling_ratio_range: (lower, upper) of the factor.
        max_shear_degree: Largest shear either way, drawn for each axis.
        border: (w, h) by which the result is wider on each side; negative cuts, as after a mosaic.
        border_val: What fills new pixels, in the order of the image's channels.
        bbox_clip_border: Cut boxes to the new image.
    """

    keeps_images = True

    def __init__(
        self,
        max_rotate_degree: float = 10.0,
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: tuple[float, float] = (0.5, 1.5),
        max_shear_degree: float = 2.0,
        border: tuple[int, int] = (0, 0),
        border_val: tuple[int, int, int] = (114, 114, 114),
        bbox_clip_border: bool = True,
    ) -> None:
        if scaling_ratio_range[0] <= 0:
            raise ValueError(f'scaling_ratio_range must be positive, got {scaling_ratio_range}.')
        self.max_rotate_degree = max_rotate_degree
        self.max_translate_ratio = check_probability(max_translate_ratio, 'max_translate_ratio')
        self.scaling_ratio_range = check_range('scaling_ratio_range', scaling_ratio_range)
        self.max_shear_degree = max_shear_degree
        self.border = border
        self.border_val = border_val
        self.bbox_clip_border = bbox_clip_border
        self.edge = Edge(img=border_val, clip=bbox_clip_border)

    def draw(self, results: dict) -> Warp:
        source = image_size(results)
        height = source[0] + 2 * self.border[1]
        width = source[1] + 2 * self.border[0]
        if min(height, width) <= 0:
            raise ValueError(f'border={self.border} leaves nothing of an image of (h, w) = {source}.')
        return Warp.affine(self._draw_matrix(height, width), (height, width), source)

    def _draw_matrix(self, height: int, width: int) -> np.ndarray:
        uniform = np.random.uniform
        rotation = _rotation(uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scaling = np.diag([*[uniform(*self.scaling_ratio_range)] * 2, 1])
        shear = np.eye(3)
        translation = np.eye(3)
        degrees = uniform(-self.max_shear_degree, self.max_shear_degree, size=2)
        shear[0, 1], shear[1, 0] = np.tan(np.radians(degrees))
        ratio = self.max_translate_ratio
        translation[0, 2] = uniform(-ratio, ratio) * width
        translation[1, 2] = uniform(-ratio, ratio) * height
        return translation @ shear @ rotation @ scaling  # the rightmost comes first

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)


def _rotation(degrees: float) -> np.ndarray:
    sine = math.sin(math.radians(degrees))
    cosine = math.cos(math.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
