"""Crops that Detectron2 has: to one size, and to windows that aren't filled by a single class."""

import numpy as np

from mmdetlike.datasets.transforms.base import image_size
from mmdetlike.datasets.transforms.crop import RandomCrop
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Fill, Warp

MAX_TRIES = 10


@TRANSFORMS.register_module()
class FixedSizeCrop(GeometricTransform):
    """Crop to a window at a random position where the image is too large, pad at the right and bottom where too small.

    Instances wholly outside are dropped.

    Args:
        crop_size: (width, height) of the new image in pixels.
        pad_value: What new pixels are filled with, one number or one a channel.
        seg_pad_value: What fills the label map.
    """

    def __init__(self, crop_size: tuple[int, int], pad_value: Fill = 128, seg_pad_value: int = 255) -> None:
        if len(crop_size) != 2 or min(crop_size) < 1:
            raise ConfigError(f'FixedSizeCrop: crop_size={crop_size} has to be width and height in pixels.')
        self.crop_size = tuple(crop_size)
        self.pad_value = pad_value
        self.seg_pad_value = seg_pad_value
        self.edge = Edge(img=pad_value, seg=seg_pad_value, clip=True)

    def draw(self, results: dict) -> Warp:
        height, width = image_size(results)
        new_w, new_h = self.crop_size
        x0 = np.random.randint(0, max(width - new_w, 0) + 1)
        y0 = np.random.randint(0, max(height - new_h, 0) + 1)
        return Warp.window((height, width), x0, y0, new_h, new_w)

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)


@TRANSFORMS.register_module()
class CategoryAreaCrop(RandomCrop):
    """A random crop in which no class fills more than a share of the label map.

    After ten windows that don't, the last one is taken.

    Args:
        crop_size: As of ``RandomCrop``.
        crop_type: As of ``RandomCrop``.
        single_category_max_area: The largest share of the labeled pixels of a window that one class may have.
        ignored_category: A label that doesn't count, as 255 for what isn't labeled.
        allow_negative_crop: As of ``RandomCrop``.

    Raises:
        ConfigError: The share isn't above 0 and at most 1.
    """

    needs = ('gt_seg_map',)

    def __init__(
        self,
        crop_size: tuple[float, float],
        crop_type: str = 'absolute',
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
        allow_negative_crop: bool = True,
    ) -> None:
        if not 0 < single_category_max_area <= 1:
            raise ConfigError(
                f'CategoryAreaCrop: single_category_max_area={single_category_max_area} has to be above 0, 1 at most.'
            )
        super().__init__(crop_size, crop_type, allow_negative_crop)
        self.single_category_max_area = single_category_max_area
        self.ignored_category = ignored_category

    def draw(self, results: dict) -> Warp:
        for _ in range(MAX_TRIES):
            warp = super().draw(results)
            if self._is_mixed(warp.label_map(results['gt_seg_map'])):
                break
        return warp

    def _is_mixed(self, labels: np.ndarray) -> bool:
        values, counts = np.unique(labels, return_counts=True)
        counts = counts[values != self.ignored_category] if self.ignored_category is not None else counts
        return len(counts) > 1 and counts.max() <= self.single_category_max_area * counts.sum()
