"""Corners of boxes: what their heat maps should hold, and how peaks of them become boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdetlike.models.utils import (
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    transpose_and_gather_feat,
)

SIDES = ('tl', 'br')  # top left and bottom right, as the parameters are named
Corner = tuple[int, int]  # row and column


@dataclass
class CornerTargets:
    """What the maps of one side, top left or bottom right, should predict; h x w cells.

    Attributes:
        heat: (B, classes, h, w) bells, 1 at the cell of each object's corner.
        weight: (B, 1, h, w) 1 where there is a corner.
        values: Name -> (B, 2, h, w), numbers that are asked where there is a corner.
    """

    heat: Tensor
    weight: Tensor
    values: dict[str, Tensor]

    def add(self, image: int, label: int, cell: tuple[int, int], radius: int, values: dict[str, Tensor]) -> None:
        """Enter the corner of an object of image ``image`` at ``cell``, x and y."""
        x, y = cell
        gen_gaussian_target(self.heat[image, label], cell, radius)
        self.weight[image, :, y, x] = 1
        for name, value in values.items():
            self.values[name][image, :, y, x] = value


@dataclass
class BatchTargets:
    """Targets of both sides and, of each image, the cells of each object's two corners."""

    sides: dict[str, CornerTargets]
    corners: list[list[tuple[Corner, Corner]]] = field(default_factory=list)


def empty_targets(heat: Tensor, names: Sequence[str]) -> BatchTargets:
    """Targets of maps of the size of ``heat`` (B, classes, h, w) without any object."""
    batch, _, height, width = heat.shape

    def side() -> CornerTargets:
        values = {name: heat.new_zeros(batch, 2, height, width) for name in names}
        return CornerTargets(torch.zeros_like(heat), heat.new_zeros(batch, 1, height, width), values)

    return BatchTargets({name: side() for name in SIDES})


@dataclass
class Peaks:
    """The best corners of one side, k of each image.

    Attributes:
        scores, labels: (B, k).
        points: (B, k, 2) x and y in cells.
        values: Name -> (B, k, c), what the other maps hold at the corner.
    """

    scores: Tensor
    labels: Tensor
    points: Tensor
    values: dict[str, Tensor]


def find_peaks(maps: dict[str, Tensor], k: int, kernel: int) -> Peaks:
    """The ``k`` best local maxima of ``maps['heat']``, logits (B, classes, h, w), moved by ``maps['off']``.

    Of the peaks in a square of ``kernel`` cells only the best one counts. What else ``maps`` have is read there.
    """
    heat = get_local_maximum(maps['heat'].sigmoid(), kernel)
    scores, cells, labels, ys, xs = get_topk_from_heatmap(heat, k)
    values = {name: transpose_and_gather_feat(m, cells) for name, m in maps.items() if name != 'heat'}
    return Peaks(scores, labels, torch.stack([xs, ys], -1) + values['off'], values)


@dataclass
class Pairs:
    """Every top left corner with every bottom right one: k x k boxes of each image.

    Attributes:
        boxes: (B, k, k, 4) xyxy in cells.
        scores: (B, k, k), the mean of the corners' scores.
        labels: (B, k, k), that of the top left corner.
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
