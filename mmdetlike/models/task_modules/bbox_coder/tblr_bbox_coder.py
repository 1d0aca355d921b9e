"""Box regression by the distances of a prior's center to the four sides: FSAF, arXiv 1903.00621."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, bbox2distance, distance2bbox, geometry

from .base import BaseBBoxCoder


@TASK_UTILS.register_module()
class TBLRBBoxCoder(BaseBBoxCoder):
    """Encode boxes as distances top, bottom, left, right of a prior's center.

    Args:
        normalizer: Divides distances, which are already over the prior's sides; one for all or one for each side.
        clip_border: Clip decoded boxes to the image.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.

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

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        """Distances (n, 4) from the centers of priors ``bboxes`` (n, 4) to the sides of ``gt_bboxes`` (n, 4)."""
        priors = self.plain(bboxes).float()
        # the order of the sides is that of the name: top, bottom, left, right
        left_top_right_bottom = bbox2distance(geometry.centers(priors), self.plain(gt_bboxes).float())
        distances = left_top_right_bottom[..., [1, 3, 0, 2]] / _sides(priors)
        return distances / distances.new_tensor(self.normalizer)

    def decode(self, bboxes: Tensor | HorizontalBoxes, pred_bboxes: Tensor, max_shape=None) -> Tensor | HorizontalBoxes:
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
