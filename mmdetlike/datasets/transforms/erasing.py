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


@TRANSFORMS.register_module()
class CutOut(BaseTransform):
    """Fill random rectangles of the image alone; annotations stay (Cutout, arXiv 1708.04552).

    Args:
        n_holes: How many, or (fewest, most) of them.
        cutout_shape: (w, h) of a rectangle in pixels, or a list of such sizes to choose from.
        cutout_ratio: The same as shares of the image's width and height, instead of ``cutout_shape``.
        fill_in: What fills the image, one number or one a channel.

    Raises:
        ConfigError: Not exactly one of ``cutout_shape`` and ``cutout_ratio`` is given, or a value is out of range.
    """

    needs = ('img',)

    def __init__(
        self,
        n_holes: int | tuple[int, int],
        cutout_shape: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
        cutout_ratio: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
        fill_in: float | Sequence[float] = (0, 0, 0),
    ) -> None:
        if (cutout_shape is None) == (cutout_ratio is None):
            raise ConfigError(
                f'CutOut needs either cutout_shape or cutout_ratio, got {cutout_shape} and {cutout_ratio}'
            )
        self.n_holes = _range('n_holes', n_holes, highest=None)
        self.cutout_shape = cutout_shape
        self.cutout_ratio = cutout_ratio
        self.fill_in = fill_in
        self._candidates = _candidates(cutout_shape, cutout_ratio)

    def transform(self, results: dict) -> dict:
        fewest, most = self.n_holes
        holes = [self._hole(*image_size(results)) for _ in range(np.random.randint(fewest, most + 1))]
        fill = self.fill_in
        channels = results['img'].shape[2:]
        if not np.isscalar(fill) and channels != (len(fill),):
            raise ConfigError(
                f'fill_in={fill} of CutOut has {len(fill)} numbers, but the picture {results.get("img_path")} is of '
                f'shape {results["img"].shape}'
            )
        results['img'] = _filled(results['img'], holes, fill)
        return results

    def _hole(self, height: int, width: int) -> Patch:
        """x1, y1, x2, y2 of a rectangle with its top left corner at a random pixel, cut at the edges."""
        x1 = np.random.randint(width)
        y1 = np.random.randint(height)
        hole_w, hole_h = self._candidates[np.random.randint(len(self._candidates))]
        if self.cutout_ratio is not None:
            hole_w = int(hole_w * width)
            hole_h = int(hole_h * height)
        return x1, y1, min(x1 + hole_w, width), min(y1 + hole_h, height)


def _candidates(shapes: Sequence | None, ratios: Sequence | None) -> list[Sequence[float]]:
    """The sizes that holes may have, (w, h) each."""
    name, given, highest = ('cutout_shape', shapes, np.inf) if ratios is None else ('cutout_ratio', ratios, 1)
    candidates = list(given) if given and isinstance(given[0], Sequence) else [given]
    for size in candidates:
        if len(size) != 2 or min(size) < 0 or max(size) > highest:
            limit = ' of pixels' if ratios is None else ' up to 1'
            raise ConfigError(f'{name} must be (w, h), two numbers{limit}, or a list of such; got {given}')
    return candidates


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
