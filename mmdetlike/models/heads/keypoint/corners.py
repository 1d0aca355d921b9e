"""Corners of boxes: what their heat maps should hold, and how peaks of them become boxes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import KeypointTargets, Peaks

SIDES = ('tl', 'br')  # top left and bottom right, as the parameters are named
Corner = tuple[int, int]  # row and column


@dataclass
class BatchTargets:
    """Targets of both sides and, of each image, the cells of each object's two corners."""

    sides: dict[str, KeypointTargets]
    corners: list[list[tuple[Corner, Corner]]] = field(default_factory=list)


@dataclass
class Pairs:
    """Every top left corner with every bottom right one: k x k boxes of each image.

    Attributes:
        boxes: (B, k, k, 4) xyxy in cells.
        scores, labels: (B, k, k), the mean of the corners' scores, and the label of the top left one.
        valid: (B, k, k) whether the corners are of one class and make a box.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


def pair_up(top_left: Peaks, bottom_right: Peaks) -> Pairs:
    """The boxes that two corners can make."""
    first = top_left.points[:, :, None]
    second = bottom_right.points[:, None]
    boxes = torch.cat(torch.broadcast_tensors(first, second), -1)
    scores = (top_left.scores[:, :, None] + bottom_right.scores[:, None]) / 2
    labels = top_left.labels[:, :, None].expand_as(scores)
    alike = labels == bottom_right.labels[:, None]
    return Pairs(boxes, scores, labels, alike & (second > first).all(-1))
