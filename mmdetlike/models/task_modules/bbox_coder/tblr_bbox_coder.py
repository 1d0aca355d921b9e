"""Box regression by the distances of a prior's centre to the four sides: FSAF, arXiv 1903.00621."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, get_box_tensor

from .delta_xywh_bbox_coder import clip_boxes


def bboxes2tblr(
    priors: Tensor, gts: Tensor, normalizer: float | Sequence[float] = 4.0, normalize_by_wh: bool = True
) -> Tensor:
    """Distances (n, 4) top, bottom, left, right from the centres of ``priors`` (n, 4) to ``gts`` (n, 4), both xyxy.

    Args:
        priors: Priors in pixels.
        gts: Boxes in pixels.
        normalizer: By which distances are divided, one for all or one for each side.
        normalize_by_wh: Divide by the prior's height and width first.
    """
    priors, gts = priors.float(), gts.float()
    x, y = ((priors[..., :2] + priors[..., 2:]) / 2).unbind(-1)
    distances = torch.stack([y - gts[..., 1], gts[..., 3] - y, x - gts[..., 0], gts[..., 2] - x], dim=-1)
    if normalize_by_wh:
        distances = distances / _sides(priors)
    return distances / distances.new_tensor(normalizer)


def tblr2bboxes(
    priors: Tensor,
    tblr: Tensor,
    normalizer: float | Sequence[float] = 4.0,
    normalize_by_wh: bool = True,
    max_shape=None,
    clip_border: bool = True,
) -> Tensor:
    """Boxes (..., 4) xyxy in pixels, the inverse of ``bboxes2tblr``.

    Args:
        priors: (..., 4) xyxy in pixels.
        tblr: (..., 4) top, bottom, left, right.
        normalizer: As for encoding.
        normalize_by_wh: As for encoding.
        max_shape: Height and width in pixels to which boxes are clipped, one pair for all or one (B, 2) a batch
            element.
        clip_border: Clip to ``max_shape``.
    """
    distances = tblr * tblr.new_tensor(normalizer)
    if normalize_by_wh:
        distances = distances * _sides(priors)
    x, y = ((priors[..., :2] + priors[..., 2:]) / 2).unbind(-1)
    top, bottom, left, right = distances.unbind(-1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)
    return clip_boxes(boxes, max_shape) if clip_border and max_shape is not None else boxes


def _sides(priors: Tensor) -> Tensor:
    """Height, height, width, width of each prior."""
    width, height = (priors[..., 2:] - priors[..., :2]).unbind(-1)
    return torch.stack([height, height, width, width], dim=-1)


@TASK_UTILS.register_module()
class TBLRBBoxCoder:
    """Encode boxes as distances top, bottom, left, right of a prior's centre; see ``bboxes2tblr``.

    Args:
        normalizer: By which distances are divided, after division by the prior's sides; one for all or one a side.
        clip_border: Clip decoded boxes to the image.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.

    Examples:
        >>> coder, prior = TBLRBBoxCoder(), torch.tensor([[0., 0., 10., 20.]])
        >>> coder.encode(prior, torch.tensor([[1., 2., 9., 14.]]))
        tensor([[0.1000, 0.0500, 0.1000, 0.1000]])
        >>> coder.decode(prior, torch.tensor([[0.1, 0.05, 0.1, 0.1]]), max_shape=(12, 12))
        tensor([[ 1.,  2.,  9., 12.]])
    """

    encode_size = 4

    def __init__(
        self, normalizer: float | Sequence[float] = 4.0, clip_border: bool = True, use_box_type: bool = False
    ) -> None:
        self.normalizer, self.clip_border, self.use_box_type = normalizer, clip_border, use_box_type

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        """Distances (n, 4) from the centres of priors ``bboxes`` (n, 4) to the sides of ``gt_bboxes`` (n, 4)."""
        return bboxes2tblr(get_box_tensor(bboxes), get_box_tensor(gt_bboxes), self.normalizer)

    def decode(self, bboxes: Tensor | HorizontalBoxes, pred_bboxes: Tensor, max_shape=None) -> Tensor | HorizontalBoxes:
        """Boxes (..., 4) xyxy in pixels that ``pred_bboxes`` (..., 4) make of priors ``bboxes`` (..., 4)."""
        priors = get_box_tensor(bboxes)
        boxes = tblr2bboxes(priors, pred_bboxes, self.normalizer, max_shape=max_shape, clip_border=self.clip_border)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes
