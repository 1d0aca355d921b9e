"""Corners of boxes: what their heat maps should hold, and how peaks of them become boxes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdetlike.models.utils import (
    gaussian_radius,
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    transpose_and_gather_feat,
)

from .base import clamp_cell

SIDES = ('tl', 'br')  # top left and bottom right, as the parameters are named
MIN_OVERLAP = 0.3  # of a box with its object, both of whose corners lie within the bells' radius
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

    def add(self, image: int, label: int, cell: Corner, radius: int, values: dict[str, Tensor]) -> None:
        """Enter the corner of an object of image ``image`` at ``cell``."""
        row, column = cell
        gen_gaussian_target(self.heat[image, label], (column, row), radius)
        self.weight[image, :, row, column] = 1
        for name, value in values.items():
            self.values[name][image, :, row, column] = value


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


def bell_radius(box: Tensor) -> int:
    """How far the bells around the corners of ``box`` (4,) xyxy in cells reach."""
    width = math.ceil(float(box[2] - box[0]))
    height = math.ceil(float(box[3] - box[1]))
    return max(0, int(gaussian_radius((height, width), MIN_OVERLAP)))


def corner_cell(corner: Tensor, heat: Tensor) -> Corner:
    """Row and column of the cell of ``heat`` that ``corner`` (2,), x and y in cells, falls into."""
    column, row = clamp_cell(float(corner[0]), float(corner[1]), heat)
    return row, column


@dataclass
class Peaks:
    """The best corners of one side, k of each image.

    Attributes:
        scores: (B, k).
        labels: (B, k).
        points: (B, k, 2) x and y in cells.
        values: Name -> (B, k, c), what the other maps hold at the corner.
    """

    scores: Tensor
    labels: Tensor
    points: Tensor
    values: dict[str, Tensor]


def find_peaks(maps: dict[str, Tensor], k: int, kernel: int) -> Peaks:
    """The ``k`` best local maxima of ``maps['heat']``, logits (B, classes, h, w), moved by ``maps['off']``.

    Args:
        maps: Of one side; what else it has is read at the peaks.
        k: How many peaks.
        kernel: Side, in cells, of the square within which only the best one counts.
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
