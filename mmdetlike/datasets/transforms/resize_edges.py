"""Resizing and cropping by other rules for the new size."""

from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.datasets.transforms.pad import Pad
from mmdetlike.datasets.transforms.resize import Resize, Scale, round_size
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Warp


@TRANSFORMS.register_module()
class FixScaleResize(Resize):
    """`Resize`, but sides that keep the aspect ratio are cut to whole pixels, not rounded: as GLIP was trained.

    The arguments are those of `Resize`.
    """

    def draw(self, results: dict) -> Warp:
        if not self.keep_ratio:
            return super().draw(results)
        height, width = image_size(results)
        scale = self.scale or (width * self.scale_factor[0], height * self.scale_factor[1])
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        # a side that reaches its bound must not lose a pixel to rounding: 337 * (800 / 337) is 799.99...
        new = (max(int(side * factor + 1e-6), 1) for side in (height, width))
        return Warp.resize((height, width), tuple(new), self.interpolation, self.backend)


@TRANSFORMS.register_module()
class ResizeShortestEdge(BaseTransform):
    """Resize so that the shorter side has a given length, unless the longer one would be too long.

    Args:
        scale: Length of the shorter side in pixels; of a pair, the first.
        max_size: Most pixels of the longer side; None for no limit.
        resize_type: The transform that resizes.
        **resize_kwargs: Its other arguments.

    Raises:
        ConfigError: A length isn't positive.
    """

    def __init__(
        self, scale: int | Scale, max_size: int | None = None, resize_type: str = 'Resize', **resize_kwargs
    ) -> None:
        self.scale = scale[0] if isinstance(scale, Sequence) else scale
        if self.scale <= 0 or (max_size is not None and max_size <= 0):
            raise ConfigError(f'scale and max_size must be positive, got {scale} and {max_size}')
        self.max_size = max_size
        self.resize_type = resize_type
        self.resize_kwargs = {'keep_ratio': False, **resize_kwargs}
        self._build((1, 1))  # tells of wrong arguments before training starts

    def _build(self, scale: Scale) -> BaseTransform:
        return TRANSFORMS.build(dict(type=self.resize_type, scale=scale, **self.resize_kwargs))

    def transform(self, results: dict) -> dict:
        height, width = image_size(results)
        factor = self.scale / min(height, width)
        if self.max_size is not None:
            factor = min(factor, self.max_size / max(height, width))
        return self._build((round_size(width, factor), round_size(height, factor)))(results)


@TRANSFORMS.register_module()
class CenterCrop(GeometricTransform):
    """Cut the window in the middle of the image. Instances wholly outside are dropped.

    Args:
        crop_size: (w, h) in pixels, or one number for both; at most the image unless it is padded.
        auto_pad: Pad smaller images on the right and below to ``crop_size``.
        pad_cfg: A `Pad` without size, whose ``pad_val`` and ``padding_mode`` say how.
        clip_object_border: Cut boxes to the window.

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        auto_pad: bool = False,
        pad_cfg: dict | None = None,
        clip_object_border: bool = True,
    ) -> None:
        self.crop_size = tuple(crop_size) if isinstance(crop_size, Sequence) else (crop_size, crop_size)
        if len(self.crop_size) != 2 or not all(isinstance(s, (int, np.integer)) and s > 0 for s in self.crop_size):
            raise ConfigError(f'crop_size must be a positive whole number or two of them (w, h), got {crop_size}')
        self.auto_pad = auto_pad
        self.pad_cfg = dict(pad_cfg or {'type': 'Pad'})
        self.clip_object_border = clip_object_border
        pad = TRANSFORMS.build({**self.pad_cfg, 'size': self.crop_size})
        if not isinstance(pad, Pad):
            raise ConfigError(f'pad_cfg must be a Pad, got {pad_cfg}')
        self._border = pad.padding_mode
        self.edge = Edge(**pad.pad_val, clip=clip_object_border)

    def draw(self, results: dict) -> Warp:
        height, width = image_size(results)
        new_w, new_h = self.crop_size
        if not self.auto_pad:
            new_w = min(new_w, width)
            new_h = min(new_h, height)
        x0 = max(round((width - new_w) / 2), 0)
        y0 = max(round((height - new_h) / 2), 0)
        return Warp.window((height, width), x0, y0, new_h, new_w, self._border)

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)
