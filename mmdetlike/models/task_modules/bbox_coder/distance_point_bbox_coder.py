"""Box regression by distances to the four sides, of a point (FCOS, arXiv 1904.01355) or of a prior's center (FSAF)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, bbox2distance, distance2bbox, geometry

from ..priors import Boxes
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

    def encode(self, points: Tensor, gt_bboxes: Boxes, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
        """Distances (n, 4) of ``points`` (n, 2) to the sides of ``gt_bboxes`` (n, 4) xyxy, in pixels.

        They are clipped to [0, ``max_dis`` - ``eps``] if ``max_dis`` is given. Where points and boxes differ in number,
        or have other columns, a ``ValueError`` is raised.
        """
        boxes = self.plain(gt_bboxes)
        if points.shape[-1] != 2 or boxes.shape != (*points.shape[:-1], 4):
            raise ValueError(
                f'points (n, 2) and gt_bboxes (n, 4) are wanted, got {tuple(points.shape)} and {tuple(boxes.shape)}'
            )
        return bbox2distance(points, boxes, max_dis, eps)

    def decode(self, points: Tensor, pred_bboxes: Tensor, max_shape=None) -> Boxes:
        """Boxes (..., n, 4) xyxy in pixels that distances ``pred_bboxes`` (..., n, 4) make of ``points`` (..., n, 2).

        They are clipped to ``max_shape``, height and width in pixels, one pair for all or one (B, 2) a batch element.
        Other columns raise ``ValueError``.
        """
        if points.shape[-1] != 2 or pred_bboxes.shape[-1] != 4:
            raise ValueError(
                'points (..., 2) and pred_bboxes (..., 4) are wanted, got '
                f'{tuple(points.shape)} and {tuple(pred_bboxes.shape)}'
            )
        boxes = distance2bbox(points, pred_bboxes, max_shape if self.clip_border else None)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes


@TASK_UTILS.register_module()
class TBLRBBoxCoder(BaseBBoxCoder):
    """Encode boxes as distances top, bottom, left, right of a prior's center (FSAF, arXiv 1903.00621).

    Args:
        normalizer: Divides distances, which are already over the prior's sides; one for all or one for each side.
        clip_border, use_box_type: As of ``DistancePointBBoxCoder``.

    Examples:
        >>> coder, prior = TBLRBBoxCoder(), torch.tensor([[0., 0., 10., 20.]])
        >>> coder.encode(prior, torch.tensor([[1., 2., 9., 14.]]))
        tensor([[0.1000, 0.0500, 0.1000, 0.1000]])
        >>> coder.decode(prior, torch.tensor([[0.1, 0.05, 0.1, 0.1]]), max_shape=(12, 12))
        tensor([[ 1.,  2.,  9., 12.]])
    """

    def __init__(
        self, normalizer: float | Sequence[float] = 4.0, clip_border: bool = True, use_box_type: bool = False
    ) -> None:
        self.normalizer, self.clip_border, self.use_box_type = normalizer, clip_border, use_box_type

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> Tensor:
        """Distances (n, 4) from the centers of priors ``bboxes`` (n, 4) to the sides of ``gt_bboxes`` (n, 4)."""
        priors = self.plain(bboxes).float()
        # the order of the sides is that of the name: top, bottom, left, right
        left_top_right_bottom = bbox2distance(geometry.centers(priors), self.plain(gt_bboxes).float())
        distances = left_top_right_bottom[..., [1, 3, 0, 2]] / _sides(priors)
        return distances / distances.new_tensor(self.normalizer)

    def decode(self, bboxes: Boxes, pred_bboxes: Tensor, max_shape=None) -> Boxes:
        """Boxes (..., 4) xyxy in pixels that ``pred_bboxes`` (..., 4) make of priors ``bboxes`` (..., 4).

        They are clipped to ``max_shape``, height and width in pixels, one pair for all or one (B, 2) a batch element.
        """
        priors = self.plain(bboxes)
        distances = (pred_bboxes * pred_bboxes.new_tensor(self.normalizer) * _sides(priors))[..., [2, 0, 3, 1]]
        boxes = distance2bbox(geometry.centers(priors), distances, max_shape if self.clip_border else None)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes


def _sides(priors: Tensor) -> Tensor:
    """Height, height, width, width of each prior."""
    width, height = geometry.sizes(priors).unbind(-1)
    return torch.stack([height, height, width, width], dim=-1)
