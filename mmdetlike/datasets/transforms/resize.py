"""Resizing."""

from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, check_range, image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.datasets.transforms.pad import Pad
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.warp import Warp

Scale = tuple[int, int]


@TRANSFORMS.register_module()
class Resize(GeometricTransform):
    """Resize to a given size, or by a given factor.

    Records ``scale`` (w, h), ``keep_ratio`` and ``scale_factor`` (w, h): present size over original size, from the
    whole pixels of both.

    Args:
        scale: (w, h) in pixels, or one number for both. With ``keep_ratio``, the larger one bounds the image's longer
            side and the smaller one its shorter side.
        scale_factor: Factor, or (w, h) factors, instead of ``scale``.
        keep_ratio: Keep the aspect ratio.
        clip_object_border: Cut boxes to the image.
        backend: 'cv2' or 'pillow', the library that resizes the image. Where they shrink an image they differ much:
            a detector should be tested with the one that it was trained with.
        interpolation: 'nearest', 'bilinear', 'bicubic', 'lanczos', with 'cv2' also 'area', with 'pillow' also 'box'
            and 'hamming'; masks and label maps always take the nearest pixel.

    Raises:
        ValueError: Not exactly one of ``scale`` and ``scale_factor`` is given, or a value is unknown.
    """

    keeps_images = True

    def __init__(
        self,
        scale: int | Scale | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ) -> None:
        if (scale is None) == (scale_factor is None):
            raise ValueError(f'Resize needs either scale or scale_factor, got {scale} and {scale_factor}.')
        self.scale = None if scale is None else _pair('scale', scale)
        self.scale_factor = None if scale_factor is None else _pair('scale_factor', scale_factor)
        self.keep_ratio = keep_ratio
        self.clip_object_border = clip_object_border
        self.backend = backend
        self.interpolation = interpolation
        self.edge = Edge(clip=clip_object_border)
        Warp.resize((1, 1), (1, 1), interpolation, backend)  # tells of an unknown one before training starts

    def draw(self, results: dict) -> Warp:
        height, width = image_size(results)
        scale = self.scale or (round_size(width, self.scale_factor[0]), round_size(height, self.scale_factor[1]))
        new_w, new_h = fit_size((width, height), scale) if self.keep_ratio else scale
        return Warp.resize((height, width), (int(new_h), int(new_w)), self.interpolation, self.backend)

    def record(self, results: dict, warp: Warp) -> dict:
        before = results.get('scale_factor', (1.0, 1.0))  # of an earlier Resize in the same pipeline
        results['scale_factor'] = tuple(old * new for old, new in zip(before, warp.scale))
        results['scale'] = self.scale or (warp.size[1], warp.size[0])
        results['keep_ratio'] = self.keep_ratio
        return results


def round_size(length: float, factor: float) -> int:
    """``length`` scaled and rounded to whole pixels, at least one."""
    return max(int(length * factor + 0.5), 1)


def fit_size(size: Scale, bounds: Scale) -> Scale:
    """The largest (w, h) of the aspect ratio of ``size`` whose longer and shorter side keep within ``bounds``."""
    factor = min(max(bounds) / max(size), min(bounds) / min(size))
    return round_size(size[0], factor), round_size(size[1], factor)


def _pair(name: str, value) -> tuple:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or min(pair) <= 0:
        raise ValueError(f'{name} must be a positive number or two of them (w, h), got {value}.')
    return pair


@TRANSFORMS.register_module()
class FixShapeResize(Resize):
    """Resize to exactly (``width``, ``height``); with ``keep_ratio``, to fit within, padded right and below.

    Args:
        width: In pixels.
        height: In pixels.
        pad_val: What fills the padding, as in `Pad`.
        keep_ratio: Keep the aspect ratio.
        clip_object_border: Cut boxes to the image.
        backend: As in `Resize`.
        interpolation: As in `Resize`.
    """

    keeps_images = True

    def __init__(
        self,
        width: int,
        height: int,
        pad_val: float | dict | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ) -> None:
        super().__init__((width, height), None, keep_ratio, clip_object_border, backend, interpolation)
        self.width, self.height = width, height
        self.pad = Pad(size=(width, height), pad_val=pad_val)
        self.pad_val = self.pad.pad_val

    def draw(self, results: dict) -> Warp:
        height, width = image_size(results)
        new_w = self.width
        new_h = self.height
        if self.keep_ratio:
            factor = min(new_w / width, new_h / height)
            new_w = round_size(width, factor)
            new_h = round_size(height, factor)
        return Warp.resize((height, width), (new_h, new_w), self.interpolation, self.backend)

    def transform(self, results: dict) -> dict:
        return self.pad(super().transform(results))


class _DrawnResize(BaseTransform):
    """Draw a scale, then resize to it by the transform that a config names."""

    def __init__(self, resize_type: str, resize_kwargs: dict) -> None:
        self.resize_type = resize_type
        self.resize_kwargs = resize_kwargs
        # built once here, so that wrong arguments are told before training starts
        self._resize_class = type(TRANSFORMS.build(dict(resize_kwargs, type=resize_type, scale=(1, 1))))

    def _build(self, scale: Scale) -> BaseTransform:
        return self._resize_class(scale=scale, **self.resize_kwargs)


@TRANSFORMS.register_module()
class RandomResize(_DrawnResize):
    """Resize to a random scale.

    Args:
        scale: With ``ratio_range``, (w, h) to multiply by the drawn ratio; without, two scales (w, h) between which
            the longer and the shorter side are drawn.
        ratio_range: (lower, upper).
        resize_type: The transform that resizes.
        **resize_kwargs: Its other arguments.
    """

    def __init__(
        self,
        scale: Scale | Sequence[Scale],
        ratio_range: tuple[float, float] | None = None,
        resize_type: str = 'Resize',
        **resize_kwargs,
    ) -> None:
        between = len(scale) == 2 and all(isinstance(s, Sequence) and len(s) == 2 for s in scale)
        if not between and not (ratio_range is not None and all(isinstance(s, (int, float)) for s in scale)):
            raise ValueError(f'RandomResize needs two scales, or one and ratio_range; got {scale} and {ratio_range}.')
        self.scale = scale
        self.ratio_range = ratio_range if between else check_range('ratio_range', ratio_range)
        super().__init__(resize_type, resize_kwargs)

    def transform(self, results: dict) -> dict:
        return self._build(self._draw_scale())(results)

    def _draw_scale(self) -> Scale:
        if isinstance(self.scale[0], Sequence):
            longer_a, shorter_a = sorted(self.scale[0], reverse=True)
            longer_b, shorter_b = sorted(self.scale[1], reverse=True)
            return _between(longer_a, longer_b), _between(shorter_a, shorter_b)
        ratio = np.random.uniform(*self.ratio_range)
        return max(int(self.scale[0] * ratio), 1), max(int(self.scale[1] * ratio), 1)


def _between(a: int, b: int) -> int:
    return int(np.random.randint(min(a, b), max(a, b) + 1))


@TRANSFORMS.register_module()
class RandomChoiceResize(_DrawnResize):
    """Resize to one of several scales; records its index as ``scale_idx``.

    Args:
        scales: Each (w, h), or one number for both.
        resize_type: The transform that resizes.
        **resize_kwargs: Its other arguments.
    """

    def __init__(self, scales: Sequence[int | Scale], resize_type: str = 'Resize', **resize_kwargs) -> None:
        if len(scales) == 0:
            raise ValueError('RandomChoiceResize needs one scale at least.')
        self.scales = [_pair('scales', scale) for scale in scales]
        super().__init__(resize_type, resize_kwargs)

    def transform(self, results: dict) -> dict:
        results['scale_idx'] = int(np.random.randint(len(self.scales)))
        return self._build(self.scales[results['scale_idx']])(results)


@TRANSFORMS.register_module()
class SegRescale(BaseTransform):
    """Rescale ``gt_seg_map`` (h, w) alone, to the nearest pixel, for heads that predict smaller maps.

    Args:
        scale_factor: Factor of both sides.
        backend: 'cv2' or 'pillow', which make no difference here.
    """

    def __init__(self, scale_factor: float = 1, backend: str = 'cv2') -> None:
        if scale_factor <= 0:
            raise ValueError(f'scale_factor must be positive, got {scale_factor}.')
        Warp.resize((1, 1), (1, 1), 'nearest', backend)  # tells of an unknown one
        self.scale_factor = scale_factor
        self.backend = backend

    def transform(self, results: dict) -> dict:
        if 'gt_seg_map' in results and self.scale_factor != 1:
            seg = results['gt_seg_map']
            size = tuple(round_size(side, self.scale_factor) for side in seg.shape)
            results['gt_seg_map'] = Warp.resize(seg.shape, size).label_map(seg)
        return results
