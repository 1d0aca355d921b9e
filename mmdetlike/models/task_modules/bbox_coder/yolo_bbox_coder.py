"""Box regression of YOLO: the center within its cell and log-scaled sides: YOLOv3, arXiv 1804.02767."""

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, geometry

from ..priors import Boxes
from .base import BaseBBoxCoder


@TASK_UTILS.register_module()
class YOLOBBoxCoder(BaseBBoxCoder):
    """Encode a box as the position x, y of its center in the cell, from 0 to 1, and log-scaled width and height.

    Args:
        eps: Positions are kept in [eps, 1 - eps], ratios of sides above eps, when encoding.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.

    Examples:
        >>> coder, prior = YOLOBBoxCoder(), torch.tensor([[12., 12., 20., 20.]])
        >>> coder.encode(prior, torch.tensor([[14., 8., 22., 24.]]), stride=8)
        tensor([[0.7500, 0.5000, 0.0000, 0.6931]])
        >>> coder.decode(prior, torch.tensor([[0.75, 0.5, 0.0, 0.0]]), stride=8)
        tensor([[14., 12., 22., 20.]])
    """

    def __init__(self, eps: float = 1e-6, use_box_type: bool = False) -> None:
        self.eps, self.use_box_type = eps, use_box_type

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes, stride: float | Tensor) -> Tensor:
        """Targets (n, 4) x, y, w, h of ``gt_bboxes`` (n, 4) at priors ``bboxes`` (n, 4), in the middles of their cells.

        ``stride`` is that of the level in pixels, one for all or one (n,) a prior; boxes are xyxy in pixels.
        """
        priors = self.plain(bboxes)
        gts = self.plain(gt_bboxes)
        shift = geometry.centers(gts) - geometry.centers(priors)
        # the target of a sigmoid, which never reaches 0 and 1
        position = (shift / _column(stride) + 0.5).clamp(self.eps, 1 - self.eps)
        growth = geometry.sizes(gts) / geometry.sizes(priors)
        return torch.cat([position, torch.log(growth.clamp(min=self.eps))], dim=-1)

    def decode(self, bboxes: Boxes, pred_bboxes: Tensor, stride: float | Tensor) -> Boxes:
        """Boxes (..., n, 4) xyxy in pixels that ``pred_bboxes`` (..., n, 4) make of priors; see ``encode``."""
        priors = self.plain(bboxes)
        center = geometry.centers(priors) + (pred_bboxes[..., :2] - 0.5) * _column(stride)
        boxes = geometry.from_centers(center, geometry.sizes(priors) * pred_bboxes[..., 2:].exp() / 2)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes


def _column(stride: float | Tensor) -> float | Tensor:
    return stride[:, None] if isinstance(stride, Tensor) and stride.ndim == 1 else stride
