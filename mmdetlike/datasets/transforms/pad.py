"""Padding."""

import math

import numpy as np

from mmdetlike.datasets.transforms.base import check_probability, check_range, image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.warp import Warp


@TRANSFORMS.register_module()
class Pad(GeometricTransform):
    """Pad the image at the right and the bottom; a side that is long enough stays.

    Records ``pad_shape`` (h, w, c), ``pad_fixed_size`` and ``pad_size_divisor``.

    Args:
        size: (w, h) to reach, in pixels.
        size_divisor: Sides become multiples of it.
        pad_to_square: Make the shorter side as long as the longer one, before ``size_divisor``.
        pad_val: A number, or a dict of ``img`` (number, or one a channel), ``seg`` and ``masks``; what is not given
            is 0, 255 and 0.
        padding_mode: 'constant', 'edge', 'reflect' or 'symmetric', for the image.

    Raises:
        ValueError: None or more than one of ``size`` and the others is given, or a value is unknown.
    """

    keeps_images = True

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: float | dict | None = None,
        padding_mode: str = 'constant',
    ) -> None:
        if (size is None) == (size_divisor is None and not pad_to_square):
            given = f'size={size}, size_divisor={size_divisor}, pad_to_square={pad_to_square}'
            raise ValueError(f'Pad needs size, or else size_divisor or pad_to_square; got {given}.')
        self.size = size
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square
        self.pad_val = {'img': 0, 'seg': 255, 'masks': 0, **_as_dict(pad_val)}
        self.padding_mode = padding_mode
        self.edge = Edge(**self.pad_val)
        Warp.window((1, 1), 0, 0, 1, 1, padding_mode)  # raises for an unknown mode before training starts

    def draw(self, results: dict) -> Warp:
        old = image_size(results)
        return Warp.window(old, 0, 0, *self._new_size(*old), self.padding_mode)

    def _new_size(self, height: int, width: int) -> tuple[int, int]:
        if self.size is not None:
            return max(height, self.size[1]), max(width, self.size[0])
        if self.pad_to_square:
            height = width = max(height, width)
        divisor = self.size_divisor or 1
        return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor

    def record(self, results: dict, warp: Warp) -> dict:
        results['pad_shape'] = results['img'].shape if 'img' in results else warp.size
        results['pad_fixed_size'] = self.size
        results['pad_size_divisor'] = self.size_divisor
        return results


def _as_dict(pad_val: float | dict | None) -> dict:
    if pad_val is None or isinstance(pad_val, dict):
        unknown = set(pad_val or ()) - {'img', 'seg', 'masks'}
        if unknown:
            raise ValueError(f'pad_val has keys {sorted(unknown)}; expected img, seg and masks.')
        return pad_val or {}
    return {'img': pad_val}


@TRANSFORMS.register_module()
class Expand(GeometricTransform):
    """Place the image at random on a larger one of one color.

    Args:
        mean: The color, in the order of RGB.
        to_rgb: The image is BGR and ``mean`` has to be reversed for it.
        ratio_range: (lower, upper) of the drawn factor by which both sides grow.
        seg_ignore_label: What fills the label map; 255 if None.
        prob: Probability of doing anything.
    """

    keeps_images = True

    def __init__(
        self,
        mean: tuple[float, float, float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: tuple[float, float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ) -> None:
        self.mean = tuple(mean)
        self.to_rgb = to_rgb
        self.ratio_range = check_range('ratio_range', ratio_range)
        if ratio_range[0] < 1:
            raise ValueError(f'Expand cannot shrink: ratio_range must start at 1 or above, got {ratio_range}.')
        self.seg_ignore_label = seg_ignore_label
        self.prob = check_probability(prob)
        self.edge = Edge(
            img=self.mean[::-1] if to_rgb else self.mean, seg=255 if seg_ignore_label is None else seg_ignore_label
        )

    def draw(self, results: dict) -> Warp | None:
        if np.random.uniform() >= self.prob:
            return None
        height, width = image_size(results)
        ratio = np.random.uniform(*self.ratio_range)
        new_h = int(height * ratio)
        new_w = int(width * ratio)
        left = np.random.randint(0, new_w - width + 1)
        top = np.random.randint(0, new_h - height + 1)
        return Warp.window((height, width), -left, -top, new_h, new_w)
