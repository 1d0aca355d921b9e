"""Random erasing: rectangles of an image are hidden."""

from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability, image_size
from mmdetlike.datasets.transforms.instances import select_instances, turned_box_pixels
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes
from mmdetlike.structures.mask import BitmapMasks

Patch = tuple[int, int, int, int]


@TRANSFORMS.register_module()
class RandomErasing(BaseTransform):
    """Fill random rectangles of an image, and of its masks and label map. Boxes that are mostly hidden are dropped.

    Improved Regularization of Convolutional Neural Networks with Cutout, arXiv 1708.04552. Masks become bitmaps.

    Args:
        n_patches: How many, or (fewest, most) of them.
        ratio: Sides of a rectangle as a share of those of the image, or (least, largest) of it.
        squared: Height and width have the same share.
        bbox_erased_thr: A box of which a larger share than this is hidden is dropped.
        img_border_value: What fills the image, one number or one a channel.
        mask_border_value: What fills masks.
        seg_ignore_label: What fills the label map.

    Raises:
        ConfigError: A range isn't one.
    """

    needs = ('img',)

    def __init__(
        self,
        n_patches: int | tuple[int, int],
        ratio: float | tuple[float, float],
        squared: bool = True,
        bbox_erased_thr: float = 0.9,
        img_border_value: float | Sequence[float] = 128,
        mask_border_value: int = 0,
        seg_ignore_label: int = 255,
    ) -> None:
        self.n_patches = _range('n_patches', n_patches, highest=None)
        self.ratio = _range('ratio', ratio, highest=1)
        self.squared = squared
        self.bbox_erased_thr = check_probability(bbox_erased_thr, 'bbox_erased_thr')
        self.img_border_value = img_border_value
        self.mask_border_value = mask_border_value
        self.seg_ignore_label = seg_ignore_label

    def transform(self, results: dict) -> dict:
        fewest, most = self.n_patches
        patches = [self._patch(image_size(results)) for _ in range(np.random.randint(fewest, most + 1))]
        results['img'] = _filled(results['img'], patches, self.img_border_value)
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = _filled(results['gt_seg_map'], patches, self.seg_ignore_label)
        if results.get('gt_masks') is not None:
            masks = results['gt_masks']
            bitmaps = [_filled(mask, patches, self.mask_border_value) for mask in masks.to_ndarray()]
            results['gt_masks'] = BitmapMasks(bitmaps, *masks.size)
        # last, as it drops instances from all fields, masks among them
        if results.get('gt_bboxes') is not None:
            hidden = hidden_shares(results['gt_bboxes'], patches, image_size(results))
            select_instances(results, hidden <= self.bbox_erased_thr)
        return results

    def _patch(self, size: tuple[int, int]) -> Patch:
        """x1, y1, x2, y2 of a rectangle around a random pixel, cut at the edges."""
        share = np.random.uniform(*self.ratio)
        other = share if self.squared else np.random.uniform(*self.ratio)
        height = int(size[0] * share)
        width = int(size[1] * other)
        y = np.random.randint(size[0])
        x = np.random.randint(size[1])
        top = max(y - height // 2, 0)
        left = max(x - width // 2, 0)
        bottom = min(y - height // 2 + height, size[0])
        right = min(x - width // 2 + width, size[1])
        return left, top, max(right, left), max(bottom, top)


def hidden_shares(boxes: BaseBoxes, patches: Sequence[Patch], size: tuple[int, int]) -> np.ndarray:
    """The share (n,) of the pixels of each box that patches hide, those under several counted once."""
    hidden = np.zeros(size, dtype=np.uint8)
    hidden = _filled(hidden, patches, 1)
    if not isinstance(boxes, HorizontalBoxes):
        pixels = turned_box_pixels(boxes, size)
        return (pixels * hidden).sum((1, 2)) / np.maximum(pixels.sum((1, 2)), 1)
    shares = []
    for x1, y1, x2, y2 in boxes.numpy():
        part = hidden[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
        shares.append(part.mean() if part.size else 0.0)
    return np.array(shares)


def _filled(pixels: np.ndarray, patches: Sequence[Patch], value: float | Sequence[float]) -> np.ndarray:
    pixels = pixels.copy()
    for x1, y1, x2, y2 in patches:
        pixels[y1:y2, x1:x2] = value
    return pixels


def _range(name: str, given: float | Sequence[float], highest: float | None) -> tuple[float, float]:
    bounds = tuple(given) if isinstance(given, Sequence) else (given, given)
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] or (highest is not None and bounds[1] > highest):
        limit = '' if highest is None else f' <= {highest}'
        raise ConfigError(f'{name} must be a number or a range, 0 <= lowest <= highest{limit}, got {given}')
    return bounds
