"""Box regression by the distances of a point to the four sides: FCOS, arXiv 1904.01355."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, bbox2distance, distance2bbox

from .base import BaseBBoxCoder


@TASK_UTILS.register_module()
class DistancePointBBoxCoder(BaseBBoxCoder):
    """Encode boxes as distances left, top, right, bottom of points; see ``bbox2distance`` and ``distance2bbox``.

    Args:
        clip_border: Clip decoded boxes to the image.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.

    Examples:
        >>> coder = DistancePointBBoxCoder()
        >>> coder.encode(torch.tensor([[4., 4.]]), torch.tensor([[1., 2., 9., 8.]]))
        tensor([[3., 2., 5., 4.]])
        >>> coder.decode(torch.tensor([[4., 4.]]), torch.tensor([[3., 2., 5., 4.]]), max_shape=(8, 8))
        tensor([[1., 2., 8., 8.]])
    """

    uses_points = True

    def __init__(self, clip_border: bool = True, use_box_type: bool = False) -> None:
        self.clip_border, self.use_box_type = clip_border, use_box_type

    def encode(
        self, points: Tensor, gt_bboxes: Tensor | HorizontalBoxes, max_dis: float | None = None, eps: float = 0.1
    ) -> Tensor:
        """Distances (n, 4) of ``points`` (n, 2) to the sides of ``gt_bboxes`` (n, 4) xyxy, in pixels.

        They are clipped to [0, ``max_dis`` - ``eps``] if ``max_dis`` is given.

        Raises:
            ValueError: Points and boxes differ in number or have other columns.
        """
        boxes = self.plain(gt_bboxes)
        if points.shape[-1] != 2 or boxes.shape != (*points.shape[:-1], 4):
            raise ValueError(
                f'points (n, 2) and gt_bboxes (n, 4) are wanted, got {tuple(points.shape)} and {tuple(boxes.shape)}'
            )
        return bbox2distance(points, boxes, max_dis, eps)

    def decode(self, points: Tensor, pred_bboxes: Tensor, max_shape=None) -> Tensor | HorizontalBoxes:
        """Boxes (..., n, 4) xyxy in pixels that distances ``pred_bboxes`` (..., n, 4) make of ``points`` (..., n, 2).

        They are clipped to ``max_shape``, height and width in pixels, one pair for all or one (B, 2) a batch element.

        Raises:
            ValueError: The last columns are not 2 and 4.
        """
        if points.shape[-1] != 2 or pred_bboxes.shape[-1] != 4:
            raise ValueError(
                'points (..., 2) and pred_bboxes (..., 4) are wanted, got '
                f'{tuple(points.shape)} and {tuple(pred_bboxes.shape)}'
            )
        boxes = distance2bbox(points, pred_bboxes, max_shape if self.clip_border else None)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes
