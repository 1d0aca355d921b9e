"""Transforms that crop the image."""

from collections.abc import Sequence

import numpy as np
import torch

from mmdetlike.datasets.transforms.base import image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform, visible
from mmdetlike.datasets.transforms.instances import Edge, boxes_from_masks
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes, geometry
from mmdetlike.structures.warp import Warp

CROP_TYPES = ('absolute', 'absolute_range', 'relative', 'relative_range')


@TRANSFORMS.register_module()
class RandomCrop(GeometricTransform):
    """Crop to a window at a random position. Instances wholly outside are dropped.

    Args:
        crop_size: In the order (width, height) unless it is a range.
        crop_type: 'absolute': ``crop_size`` in pixels, at most the image; 'absolute_range': height and width are
            each drawn between its two numbers of pixels; 'relative': fractions of the image; 'relative_range':
            fractions drawn between it and 1.
        allow_negative_crop: Let a window without instances pass; otherwise the sample is given up (None), unless the
            image had none before.
        recompute_bbox: Boxes become those around the cropped masks; instances with an empty mask are dropped.
        bbox_clip_border: Cut boxes to the window.

    Raises:
        ValueError: ``crop_type`` is unknown or ``crop_size`` doesn't fit it.
    """

    keeps_images = True

    def __init__(
        self,
        crop_size: tuple[float, float],
        crop_type: str = 'absolute',
        allow_negative_crop: bool = False,
        recompute_bbox: bool = False,
        bbox_clip_border: bool = True,
    ) -> None:
        _check_crop(crop_size, crop_type)
        self.crop_size = tuple(crop_size)
        self.crop_type = crop_type
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox = recompute_bbox
        self.bbox_clip_border = bbox_clip_border
        self.edge = Edge(clip=bbox_clip_border)

    def draw(self, results: dict) -> Warp:
        size = image_size(results)
        height, width = self._draw_size(*size)
        y0 = np.random.randint(0, size[0] - height + 1)
        x0 = np.random.randint(0, size[1] - width + 1)
        return Warp.window(size, x0, y0, height, width)

    def _draw_size(self, height: int, width: int) -> tuple[int, int]:
        first, second = self.crop_size
        if self.crop_type == 'absolute':
            return min(second, height), min(first, width)
        if self.crop_type == 'absolute_range':
            return tuple(np.random.randint(min(first, side), min(second, side) + 1) for side in (height, width))
        if self.crop_type == 'relative_range':
            first = np.random.uniform(first, 1)
            second = np.random.uniform(second, 1)
        return max(int(height * second + 0.5), 1), max(int(width * first + 0.5), 1)

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        return visible(boxes, warp)

    def record(self, results: dict, warp: Warp) -> dict:
        if self.recompute_bbox and 'gt_bboxes' in results and 'gt_masks' in results:
            boxes_from_masks(results)
        return results

    def transform(self, results: dict) -> dict | None:
        count_before = len(results.get('gt_bboxes', ()))
        cropped = super().transform(results)
        lost_all = count_before > 0 and len(cropped['gt_bboxes']) == 0
        return None if lost_all and not self.allow_negative_crop else cropped


def _check_crop(crop_size: Sequence[float], crop_type: str) -> None:
    if crop_type not in CROP_TYPES:
        raise ValueError(f'crop_type={crop_type!r} is unknown; expected one of {", ".join(CROP_TYPES)}.')
    given = f'got crop_size={crop_size} for crop_type={crop_type!r}'
    if len(crop_size) != 2 or min(crop_size) <= 0:
        raise ValueError(f'crop_size must be two positive numbers; {given}.')
    if crop_type.startswith('relative') and max(crop_size) > 1:
        raise ValueError(f'Relative sizes must be 1 at most; {given}.')
    if crop_type.startswith('absolute') and not all(isinstance(side, (int, np.integer)) for side in crop_size):
        raise ValueError(f'Absolute sizes must be whole pixels; {given}.')
    if crop_type == 'absolute_range' and crop_size[0] > crop_size[1]:
        raise ValueError(f'The range must start with its lower end; {given}.')


@TRANSFORMS.register_module()
class MinIoURandomCrop(GeometricTransform):
    """Crop to a window that overlaps each box by at least a random IoU (SSD: Single Shot MultiBox Detector,
    arXiv 1512.02325).

    Boxes whose center lies in the window stay. A share of the images stays whole.

    Args:
        min_ious: The minima to choose from, besides 0 and the whole image.
        min_crop_size: Least side of the window, as a fraction of the image's.
        bbox_clip_border: Cut boxes to the window.
    """

    keeps_images = True

    trials = 50  # with one minimum, before another is chosen

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        bbox_clip_border: bool = True,
    ) -> None:
        if not 0 < min_crop_size <= 1:
            raise ValueError(f'min_crop_size must lie between 0 and 1, got {min_crop_size}.')
        self.min_ious = tuple(min_ious)
        self.min_crop_size = min_crop_size
        self.bbox_clip_border = bbox_clip_border
        self.edge = Edge(clip=bbox_clip_border)

    def draw(self, results: dict) -> Warp | None:
        choices = (1, *self.min_ious, 0)
        while True:  # ends, since 1 leaves the image whole
            min_iou = choices[np.random.randint(len(choices))]
            if min_iou == 1:
                return None
            for _ in range(self.trials):
                warp = self._draw_window(*image_size(results))
                if warp is not None and self._accepts(warp, results.get('gt_bboxes'), min_iou):
                    return warp

    def _draw_window(self, height: int, width: int) -> Warp | None:
        new_w, new_h = (int(np.random.uniform(self.min_crop_size * side, side)) for side in (width, height))
        if new_w == 0 or new_h == 0 or not 0.5 <= new_h / new_w <= 2:
            return None
        x0 = int(np.random.uniform(width - new_w))
        y0 = int(np.random.uniform(height - new_h))
        return Warp.window((height, width), x0, y0, new_h, new_w)

    def _accepts(self, warp: Warp, boxes: BaseBoxes | None, min_iou: float) -> bool:
        if boxes is None or len(boxes) == 0:
            return True
        moved = warp.boxes(boxes)
        window = moved.tensor.new_tensor([[0, 0, warp.size[1], warp.size[0]]])
        return bool(geometry.overlaps(window, moved.tensor).min() >= min_iou) and bool(self.keeps(moved, warp).any())

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray:
        size = torch.tensor(warp.size[::-1])
        return ((boxes.centers > 0) & (boxes.centers < size)).all(-1).numpy()
