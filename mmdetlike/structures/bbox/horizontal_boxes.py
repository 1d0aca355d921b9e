"""Axis-aligned boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.bbox.base_boxes import BaseBoxes
from mmdetlike.structures.bbox.box_type import register_box
from mmdetlike.structures.bbox.overlaps import bbox_overlaps
from mmdetlike.structures.bbox.transforms import (
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_xyxy_to_cxcywh,
)


@register_box('hbox')
class HorizontalBoxes(BaseBoxes):
    """Axis-aligned boxes, kept as corners (x1, y1, x2, y2) in continuous pixel coordinates.

    Pixel (i, j) covers [i, i + 1) x [j, j + 1), so that a box's width is x2 - x1 and the whole image is (0, 0, w, h).

    Args:
        data: (..., n, 4) tensor, array or nested list.
        dtype: Of the result; that of ``data`` by default, float32 for a list.
        device: Of the result; that of ``data`` by default.
        clone: Whether to copy ``data``.
        in_mode: The encoding of ``data``: 'xyxy', 'cxcywh', or None for 'xyxy'.

    Raises:
        ValueError: The last dimension of ``data`` isn't 4 or ``in_mode`` is unknown.
    """

    box_dim = 4

    def __init__(
        self,
        data: Tensor | np.ndarray | Sequence,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        clone: bool = True,
        in_mode: str | None = None,
    ) -> None:
        super().__init__(data, dtype, device, clone)
        if in_mode not in (None, 'xyxy', 'cxcywh'):
            raise ValueError(f"in_mode={in_mode!r} is unknown; expected 'xyxy', 'cxcywh' or None.")
        if in_mode == 'cxcywh':
            self.tensor = bbox_cxcywh_to_xyxy(self.tensor)

    @property
    def xyxy(self) -> Tensor:
        """(..., n, 4) corners: the tensor itself, not a copy."""
        return self.tensor

    @property
    def cxcywh(self) -> Tensor:
        """(..., n, 4) centers and sizes."""
        return bbox_xyxy_to_cxcywh(self.tensor)

    @classmethod
    def from_plain(cls, boxes: Tensor) -> 'HorizontalBoxes':
        """The axis-aligned boxes around boxes of any kind (..., 4, 5 or 8)."""
        return cls(geometry.to_horizontal(boxes))

    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        """Mirror with an image of (h, w): 'horizontal' (left becomes right), 'vertical' or 'diagonal' (both)."""
        self.tensor.copy_(bbox_flip(self.tensor, img_shape, direction))

    def resize_(self, scale_factor: tuple[float, float]) -> None:
        boxes = self.cxcywh
        boxes[..., 2:] *= boxes.new_tensor(scale_factor)
        self.tensor.copy_(bbox_cxcywh_to_xyxy(boxes))

    def is_inside(self, img_shape: tuple[int, int], all_inside: bool = False, allowed_border: int = 0) -> Tensor:
        """Whether boxes lie in an image of (h, w), widened by ``allowed_border`` pixels on each side.

        Args:
            img_shape: (h, w).
            all_inside: Ask for the whole box instead of a part of it.
            allowed_border: In pixels.

        Returns:
            (..., n) bool.
        """
        height, width = img_shape[:2]
        x1, y1, x2, y2 = self.tensor.unbind(-1)
        # A part of a box is inside if its near sides are before the far border and its far sides behind the near one;
        # the whole box, if its far sides are before the far border and so on. One that only touches lies outside.
        if all_inside:
            x1, y1, x2, y2 = x2, y2, x1, y1
            low, high = torch.ge, torch.le
        else:
            low, high = torch.gt, torch.lt
        near = high(x1, width + allowed_border) & high(y1, height + allowed_border)
        return near & low(x2, -allowed_border) & low(y2, -allowed_border)

    @staticmethod
    def overlaps(
        boxes1: BaseBoxes, boxes2: BaseBoxes, mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6
    ) -> Tensor:
        """Overlaps (n, m) of two sets of boxes, or (n,) of their pairs; see `bbox_overlaps`."""
        return bbox_overlaps(boxes1.tensor, boxes2.tensor, mode, is_aligned, eps)

    @staticmethod
    def from_instance_masks(masks) -> 'HorizontalBoxes':
        """The boxes around the instances of `BitmapMasks` or `PolygonMasks`; zeros for an empty mask."""
        return masks.get_bboxes()
