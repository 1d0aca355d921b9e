"""Overlap between boxes as a configurable part of assigners."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, bbox_overlaps, get_box_tensor


@TASK_UTILS.register_module()
class BboxOverlaps2D:
    """IoU, IoF or GIoU of axis-aligned boxes.

    Args:
        scale: Divide coordinates by this before they are compared, to keep float16 in range.
        dtype: Kept for configs; overlaps are computed in the dtype of the boxes.
    """

    def __init__(self, scale: float = 1.0, dtype: str | None = None) -> None:
        self.scale, self.dtype = scale, dtype

    def __call__(
        self,
        bboxes1: Tensor | HorizontalBoxes,
        bboxes2: Tensor | HorizontalBoxes,
        mode: str = 'iou',
        is_aligned: bool = False,
    ) -> Tensor:
        """Overlaps (m, n) of boxes (m, 4 or 5) and (n, 4 or 5), a fifth column being a score; (m,) if aligned.

        Raises:
            ValueError: A box has neither 4 nor 5 columns.
        """
        bboxes1, bboxes2 = get_box_tensor(bboxes1), get_box_tensor(bboxes2)
        for boxes in (bboxes1, bboxes2):
            if boxes.shape[-1] not in (4, 5):
                raise ValueError(f'boxes must have 4 or 5 columns, got shape {tuple(boxes.shape)}')
        bboxes1, bboxes2 = bboxes1[..., :4] / self.scale, bboxes2[..., :4] / self.scale
        return bbox_overlaps(bboxes1, bboxes2, mode, is_aligned)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, dtype={self.dtype})'
