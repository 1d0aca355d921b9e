"""Which priors count, and the central region of boxes."""

import torch
from torch import Tensor


def anchor_inside_flags(flat_anchors: Tensor, valid_flags: Tensor, img_shape, allowed_border: int = 0) -> Tensor:
    """Mark the anchors that are valid and leave the image by at most ``allowed_border`` pixels.

    Args:
        flat_anchors: (N, 4) xyxy in pixels.
        valid_flags: (N,) bool, False for anchors on padding.
        img_shape: Height and width of the image in pixels.
        allowed_border: Pixels by which an anchor may leave the image; negative for any number.

    Returns:
        (N,) bool.
    """
    if allowed_border < 0:
        return valid_flags
    height, width = img_shape[:2]
    x1, y1, x2, y2 = flat_anchors.unbind(-1)
    inside = (x1 >= -allowed_border) & (y1 >= -allowed_border)
    return valid_flags & inside & (x2 < width + allowed_border) & (y2 < height + allowed_border)


def calc_region(bbox: Tensor, ratio: float, featmap_size: tuple[int, int] | None = None) -> tuple[Tensor, ...]:
    """Shrink a box towards its centre and round it to whole cells.

    Args:
        bbox: (4,) or (n, 4) xyxy.
        ratio: Share of each half that is cut off: 0 keeps the box, 0.5 leaves its centre.
        featmap_size: Height and width to which the result is clamped.

    Returns:
        x1, y1, x2, y2 as int64 tensors.
    """
    x1, y1, x2, y2 = bbox.unbind(-1)
    region = [
        torch.round((1 - ratio) * x1 + ratio * x2),
        torch.round((1 - ratio) * y1 + ratio * y2),
        torch.round(ratio * x1 + (1 - ratio) * x2),
        torch.round(ratio * y1 + (1 - ratio) * y2),
    ]
    region = [side.long() for side in region]
    if featmap_size is not None:
        limits = (featmap_size[1], featmap_size[0]) * 2
        region = [side.clamp(min=0, max=limit) for side, limit in zip(region, limits)]
    return tuple(region)
