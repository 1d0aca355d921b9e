"""Which anchors lie on the image, and what is done with boxes and targets level by level."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry


def anchor_inside_flags(flat_anchors: Tensor, valid_flags: Tensor, img_shape, allowed_border: int = 0) -> Tensor:
    """Mark the anchors (N,) that are valid and leave the image by at most ``allowed_border`` pixels.

    Args:
        flat_anchors: (N, 4) xyxy in pixels, or rotated ones (N, 5), which count as their enclosing boxes.
        valid_flags: (N,) bool, False for anchors on padding.
        img_shape: Height and width of the image in pixels.
        allowed_border: Negative for any number of pixels.
    """
    if allowed_border < 0:
        return valid_flags
    height, width = img_shape[:2]
    x1, y1, x2, y2 = geometry.to_horizontal(flat_anchors).unbind(-1)
    inside = (x1 >= -allowed_border) & (y1 >= -allowed_border)
    return valid_flags & inside & (x2 < width + allowed_border) & (y2 < height + allowed_border)


def calc_region(
    bbox: Tensor, ratio: float, featmap_size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The boxes with the centers of ``bbox`` (..., 4) xyxy and sides ``ratio`` times as long, cut to ``featmap_size``.

    Returns x1, y1, x2 and y2, each rounded to whole numbers.

    Examples:
        >>> calc_region(torch.tensor([0.0, 0, 40, 80]), 0.5, featmap_size=(50, 50))
        (tensor(10), tensor(20), tensor(30), tensor(50))
    """
    center = (bbox[..., :2] + bbox[..., 2:]) / 2
    half = (bbox[..., 2:] - bbox[..., :2]) * ratio / 2
    x1, y1 = torch.round(center - half).long().unbind(-1)
    x2, y2 = torch.round(center + half).long().unbind(-1)
    if featmap_size is not None:
        height, width = featmap_size
        x1 = x1.clamp(0, width)
        x2 = x2.clamp(0, width)
        y1 = y1.clamp(0, height)
        y2 = y2.clamp(0, height)
    return x1, y1, x2, y2


def images_to_levels(target: Sequence[Tensor], num_levels: Sequence[int]) -> list[Tensor]:
    """Targets (N, ...) of each image -> targets (B, N_i, ...) of each level, which has ``num_levels[i]`` of the N."""
    return list(torch.stack(list(target)).split(list(num_levels), dim=1))
