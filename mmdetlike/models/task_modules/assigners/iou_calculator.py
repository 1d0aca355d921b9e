"""Overlaps of boxes as parts of assigners, which a config names."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import bbox_overlaps, geometry, get_box_tensor

from ..priors import Boxes


@TASK_UTILS.register_module()
class BboxOverlaps2D:
    """IoU, IoF or GIoU of axis-aligned boxes.

    Args:
        scale: Divide coordinates by this before they are compared, to keep float16 in range.
        dtype: Kept for configs; overlaps are computed in the dtype of the boxes.
    """

    def __init__(self, scale: float = 1.0, dtype: str | None = None) -> None:
        self.scale, self.dtype = scale, dtype

    def __call__(self, bboxes1: Boxes, bboxes2: Boxes, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
        """Overlaps (m, n) of boxes (m, 4) and (n, 4); (m,) if aligned."""
        first, second = (self.compared(get_box_tensor(boxes)) / self.scale for boxes in (bboxes1, bboxes2))
        return bbox_overlaps(first, second, mode, is_aligned)

    def compared(self, boxes: Tensor) -> Tensor:
        """The axis-aligned boxes (n, 4) that are compared; a ``ConfigError`` refuses rotated ones."""
        return geometry.require_horizontal(boxes, type(self).__name__)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, dtype={self.dtype})'


@TASK_UTILS.register_module()
class RBboxOverlaps2D:
    """IoU or IoF of rotated boxes, exact; axis-aligned boxes among them are compared with enclosing boxes."""

    def __call__(self, bboxes1: Boxes, bboxes2: Boxes, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
        """Overlaps (m, n) of boxes (m, 4 or 5) and (n, 4 or 5); (m,) if aligned. They carry no gradient."""
        return geometry.overlaps(get_box_tensor(bboxes1), get_box_tensor(bboxes2), mode, is_aligned)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TASK_UTILS.register_module()
class RBbox2HBboxOverlaps2D(BboxOverlaps2D):
    """IoU, IoF or GIoU of the axis-aligned boxes around boxes of any kind, (m, 4 or 5) and (n, 4 or 5)."""

    def compared(self, boxes: Tensor) -> Tensor:
        return geometry.to_horizontal(boxes)
