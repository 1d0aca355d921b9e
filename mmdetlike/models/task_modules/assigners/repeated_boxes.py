"""Objects whose box is that of another object: pictures annotated with several names for the same thing."""

import torch
from torch import Tensor

from .iou_calculator import BboxOverlaps2D

TRIES = 5


def move_repeated(boxes: Tensor, iou_thr: float, perm_range: float) -> Tensor:
    """Move the boxes that are equal to an earlier one a little, at random, so that they tie for no prior.

    Args:
        boxes: (m, 4) xyxy.
        iou_thr: Overlap with where it was that a moved box must have. What has less after a few tries stays.
        perm_range: How far each side moves at most, as a share of the box's width or height.

    Returns:
        (m, 4) boxes; those that are the first of their kind are as they were.
    """
    _, kinds = boxes.unique(dim=0, return_inverse=True)
    same = kinds[:, None] == kinds[None]
    # equal to one before it: below the diagonal
    repeated = same.tril(-1).any(1)
    moved = boxes.clone()
    for _ in range(TRIES):
        if not repeated.any():
            break
        sizes = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        shifted = boxes + sizes * perm_range * (2 * torch.rand_like(boxes) - 1)
        overlaps = BboxOverlaps2D()(shifted, boxes, is_aligned=True)
        accepted = repeated & (overlaps >= iou_thr)
        moved = torch.where(accepted[:, None], shifted, moved)
        repeated = repeated & ~accepted
    return moved
