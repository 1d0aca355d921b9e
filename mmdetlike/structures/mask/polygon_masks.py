"""Instance masks as polygons."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.mask.base_masks import BaseInstanceMasks, as_array, index_array
from mmdetlike.structures.mask.bitmap_masks import BitmapMasks
from mmdetlike.structures.mask.polygon import clip_polygon, polygon_area, polygons_to_bitmap
from mmdetlike.structures.warp import Warp

MIN_POINTS = 3  # less enclose nothing


class PolygonMasks(BaseInstanceMasks):
    """Masks of the instances of an image, a list of polygons each.

    Args:
        masks: For each instance its polygons, each flat: (x0, y0, x1, y1, ...) in pixels. An instance without
            polygons has an empty mask.
        height: Of the image.
        width: Of the image.

    Raises:
        ValueError: A polygon has an odd number of coordinates, less than three points, or coordinates that are not
            finite.
    """

    def __init__(self, masks: Sequence[Sequence[np.ndarray]], height: int, width: int) -> None:
        self.height = int(height)
        self.width = int(width)
        self.masks = [[np.asarray(polygon) for polygon in instance] for instance in masks]
        for polygon in (p for instance in self.masks for p in instance):
            if polygon.ndim != 1 or len(polygon) % 2:
                raise ValueError(f'A polygon must be a flat list of x, y pairs, got shape {polygon.shape}.')
            if len(polygon) < 2 * MIN_POINTS:
                raise ValueError(f'A polygon needs {MIN_POINTS} points, got the coordinates {polygon.tolist()}.')
            if not np.isfinite(polygon).all():
                raise ValueError(f'A polygon has coordinates that are not finite: {polygon.tolist()[:12]}.')

    @classmethod
    def random(cls, num_masks: int = 3, height: int = 32, width: int = 32, n_verts: int = 5) -> 'PolygonMasks':
        """Star-shaped polygons, for tests, drawn from numpy's global generator."""
        masks = []
        for _ in range(num_masks):
            angles = np.sort(np.random.uniform(0, 2 * np.pi, n_verts))
            radii = np.random.uniform(0.1, 0.5, n_verts) * min(height, width)
            xs = width / 2 + radii * np.cos(angles)
            ys = height / 2 + radii * np.sin(angles)
            masks.append([np.stack([xs, ys], axis=1).ravel()])
        return cls(masks, height, width)

    @classmethod
    def cat(cls, masks: Sequence['PolygonMasks']) -> 'PolygonMasks':
        """Join the masks of one image."""
        return cls([instance for m in masks for instance in m.masks], masks[0].height, masks[0].width)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int | slice | np.ndarray | Tensor) -> 'PolygonMasks':
        return PolygonMasks([self.masks[i] for i in index_array(index, len(self))], self.height, self.width)

    @property
    def areas(self) -> np.ndarray:
        return np.array([sum(map(polygon_area, instance)) for instance in self.masks], dtype=np.float64)

    def warp(self, warp: Warp, fill: int = 0) -> 'PolygonMasks':
        """The polygons of the warped image, clipped to it where it is a window or an affine map.

        ``fill`` applies to bitmaps only.
        """
        masks = [[warp.points(p.reshape(-1, 2)).ravel() for p in instance] for instance in self.masks]
        if warp.kind in ('window', 'affine'):  # a resize or a flip moves nothing out of the image
            masks = [_clip_instance(instance, warp.size) for instance in masks]
        return PolygonMasks(masks, *warp.size)

    def to_bitmap(self) -> BitmapMasks:
        """These masks, rasterized as COCO does."""
        return BitmapMasks(self.to_ndarray(), self.height, self.width)

    def to_ndarray(self) -> np.ndarray:
        bitmaps = [polygons_to_bitmap(instance, self.height, self.width) for instance in self.masks]
        return np.stack(bitmaps) if bitmaps else np.zeros((0, self.height, self.width), dtype=np.uint8)

    def extents(self) -> np.ndarray:
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        for box, instance in zip(boxes, self.masks):
            if instance:
                points = np.concatenate(instance).reshape(-1, 2)
                box[:2] = points.min(0)
                box[2:] = points.max(0)
        return boxes

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> 'PolygonMasks':
        """Cut boxes out of polygons by moving and scaling them; the results may reach beyond ``out_shape``.

        Arguments and shapes are those of `BaseInstanceMasks.crop_and_resize`.
        """
        height, width = out_shape
        masks = []
        for (x1, y1, x2, y2), index in zip(as_array(bboxes).astype(np.float64), as_array(inds)):
            # A box may have no extent; the tenth of a pixel keeps the factor finite.
            factor = np.array([width / max(x2 - x1, 0.1), height / max(y2 - y1, 0.1)])
            masks.append([((p.reshape(-1, 2) - (x1, y1)) * factor).ravel() for p in self.masks[index]])
        return PolygonMasks(masks, *out_shape)


def _clip_instance(polygons: list[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    clipped = (clip_polygon(polygon.reshape(-1, 2), size) for polygon in polygons)
    return [points.ravel() for points in clipped if len(points) >= 3]
