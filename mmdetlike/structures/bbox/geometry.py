"""Geometry of plain box tensors, whose last dimension says what kind of boxes they are.

| numbers | kind | meaning |
|---|---|---|
| 4 | axis-aligned | x1, y1, x2, y2 in pixels |
| 5 | rotated | center x, center y, width, height in pixels, angle in radians |
| 8 | quadrilaterals | x and y of four corners in pixels, one after another; only to convert them |

A positive angle turns a box clockwise as seen in the image, whose y axis points down. What a network, an assigner or a
coder computes of boxes goes through these functions, so that it works for rotated boxes too; what can do axis-aligned
boxes only says so by `require_horizontal`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.structures.bbox.overlaps import bbox_overlaps
from mmdetlike.utils.sizes import size_tensor
from mmdetlike_ops import box_iou_rotated

HORIZONTAL = 4
ROTATED = 5
QUADRILATERAL = 8
KINDS = {HORIZONTAL: 'axis-aligned boxes', ROTATED: 'rotated boxes', QUADRILATERAL: 'quadrilaterals'}
# (width is the longer side, least angle in radians) of each way to write a rotated box
ANGLE_VERSIONS = {
    'oc': (False, -math.pi / 2),
    'le90': (True, -math.pi / 2),
    'le135': (True, -math.pi / 4),
}
# A side of the smallest rectangle around points lies on a side of their convex hull, which joins two of the points.
_PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))
_TIE = 1e-6  # relative difference of areas up to which the earlier of two rectangles is taken


def centers(boxes: Tensor) -> Tensor:
    """(..., 2) x and y of the centers, in pixels; of a quadrilateral, of the smallest rectangle around it."""
    if boxes.shape[-1] == HORIZONTAL:
        return (boxes[..., :2] + boxes[..., 2:]) / 2
    return to_rotated(boxes)[..., :2]


def sizes(boxes: Tensor) -> Tensor:
    """(..., 2) width and height, in pixels, of rotated boxes along their own sides."""
    if boxes.shape[-1] == HORIZONTAL:
        return boxes[..., 2:] - boxes[..., :2]
    return to_rotated(boxes)[..., 2:4]


def areas(boxes: Tensor) -> Tensor:
    """(...) in square pixels."""
    return sizes(boxes).prod(-1)


def from_centers(center: Tensor, half: Tensor) -> Tensor:
    """(..., 4) axis-aligned boxes of centers (..., 2) and halves (..., 2) of their sides, in pixels."""
    return torch.cat([center - half, center + half], dim=-1)


def resized(boxes: Tensor, factor: float) -> Tensor:
    """Axis-aligned boxes (..., 4) with the same centers and sides ``factor`` times as long."""
    return from_centers(centers(boxes), sizes(boxes) / 2 * factor)


def image_sides(img_shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Width, height, width, height (4,) of an image of ``img_shape`` (H, W), which turn boxes in [0, 1] into pixels."""
    height, width = img_shape[:2]
    return size_tensor([width, height, width, height], dtype=like.dtype, device=like.device)


def is_larger(boxes: Tensor, side: float) -> Tensor:
    """(...) whether both sides are longer than ``side`` pixels."""
    return (sizes(boxes) > side).all(-1)


def scale(boxes: Tensor, factors: Sequence[float]) -> Tensor:
    """Boxes of an image that was resized by ``factors`` (x, y).

    A rotated box that is stretched more along one axis than along the other becomes the smallest around its corners,
    along the longer of its stretched sides.
    """
    x, y = (float(factor) for factor in factors)
    if boxes.shape[-1] != ROTATED:
        return boxes * boxes.new_tensor([x, y]).repeat(boxes.shape[-1] // 2)
    if x == y:
        return torch.cat([boxes[..., :4] * x, boxes[..., 4:]], dim=-1)
    return warped_rectangles(corners(boxes) * boxes.new_tensor([x, y]))


def translate(boxes: Tensor, shift: Sequence[float]) -> Tensor:
    """Boxes moved by ``shift`` (x, y) in pixels."""
    shift = boxes.new_tensor(shift)
    if boxes.shape[-1] == ROTATED:
        return torch.cat([boxes[..., :2] + shift, boxes[..., 2:]], dim=-1)
    return boxes + shift.repeat(boxes.shape[-1] // 2)


def clip(boxes: Tensor, max_shape: Sequence | Tensor) -> Tensor:
    """Axis-aligned boxes cut to the image; others stay whole, since what is left of them would be no rectangle.

    Args:
        boxes: (..., 4 or 5).
        max_shape: Height and width in pixels; one pair, or (B, 2 or more) for boxes with a leading dimension B.
    """
    if boxes.shape[-1] != HORIZONTAL:
        return boxes
    height_width = size_tensor(max_shape, dtype=boxes.dtype, device=boxes.device)[..., :2]
    limit = height_width.flip(-1).repeat(*(1,) * (height_width.ndim - 1), 2)
    # (B, 4) -> (B, 1, ..., 4), so that each limit meets all boxes of its image
    limit = limit.reshape(*limit.shape[:-1], *(1,) * (boxes.ndim - limit.ndim), 4)
    return torch.minimum(boxes.clamp(min=0), limit)


def corners(boxes: Tensor) -> Tensor:
    """(..., 4, 2) x and y of the corners: of an upright box top left, top right, bottom right, bottom left."""
    if boxes.shape[-1] == QUADRILATERAL:
        return boxes.unflatten(-1, (4, 2))
    if boxes.shape[-1] == HORIZONTAL:
        return boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2))
    across, down = _half_sides(boxes)
    center = boxes[..., :2]
    return torch.stack(
        [center - across - down, center + across - down, center + across + down, center - across + down], dim=-2
    )


def _half_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) the vectors from the center of a rotated box to the middles of its right and of its bottom side."""
    cos = boxes[..., 4].cos()
    sin = boxes[..., 4].sin()
    half = boxes[..., 2:4] / 2
    across = torch.stack([cos, sin], dim=-1) * half[..., :1]
    down = torch.stack([-sin, cos], dim=-1) * half[..., 1:]
    return across, down


def to_horizontal(boxes: Tensor) -> Tensor:
    """(..., 4) the axis-aligned boxes around boxes of any kind."""
    if boxes.shape[-1] == HORIZONTAL:
        return boxes
    if boxes.shape[-1] == QUADRILATERAL:
        return around_points(corners(boxes))
    across, down = _half_sides(boxes)
    reach = across.abs() + down.abs()
    return torch.cat([boxes[..., :2] - reach, boxes[..., :2] + reach], dim=-1)


def to_rotated(boxes: Tensor) -> Tensor:
    """(..., 5) rotated boxes: axis-aligned ones at angle 0, quadrilaterals as the smallest rectangles around them."""
    if boxes.shape[-1] == ROTATED:
        return boxes
    if boxes.shape[-1] == QUADRILATERAL:
        return enclosing_rectangles(corners(boxes))
    return torch.cat([centers(boxes), sizes(boxes), torch.zeros_like(boxes[..., :1])], dim=-1)


def around_points(points: Tensor) -> Tensor:
    """(..., 4) the smallest axis-aligned boxes around sets of points (..., k, 2)."""
    return torch.cat([points.amin(-2), points.amax(-2)], dim=-1)


def enclosing_rectangles(points: Tensor) -> Tensor:
    """(..., 5) the smallest rotated boxes around four points (..., 4, 2) each, with angles in [-pi / 2, pi / 2).

    Of several that are equally small, the one whose width lies along the first two points is taken, so that the corners
    of a box give this box again and not the one with width and height exchanged.
    """
    first, second = zip(*_PAIRS)
    exact = points.double()
    angles = wrap(_directions(exact[..., second, :] - exact[..., first, :]), -math.pi / 2, math.pi)
    return smallest_rectangle_at(points, angles)


def warped_rectangles(points: Tensor) -> Tensor:
    """(..., 5) the smallest rotated boxes around the warped corners (..., 4, 2) of rotated boxes, in their order.

    Width stays width, and the direction in which a box points turns with the image: angles are in [-pi, pi). Where the
    image is mirrored, it is the direction of the height that does so, as for `RotatedBoxes.flip_`.
    """
    exact = points.double()
    across = exact[..., (1, 2), :] - exact[..., (0, 3), :]  # top and bottom side, from left to right
    down = exact[..., (3, 2), :] - exact[..., (0, 1), :]  # left and right side, from top to bottom
    is_mirrored = (across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]) < 0
    across = torch.where(is_mirrored[..., None], -across, across)
    # the height is a quarter of a circle from the width
    angles = torch.cat([_directions(across), _directions(down) - math.pi / 2], dim=-1)
    return smallest_rectangle_at(points, wrap(angles, -math.pi, 2 * math.pi))


def _directions(vectors: Tensor) -> Tensor:
    """(...) the angles of vectors (..., 2) with the x axis, clockwise as seen."""
    return torch.atan2(vectors[..., 1], vectors[..., 0])


def smallest_rectangle_at(points: Tensor, angles: Tensor) -> Tensor:
    """(..., 5) of the rotated boxes around sets of points (..., k, 2) at each of ``angles`` (..., n), the smallest."""
    candidates = rectangles_at(points.double().unsqueeze(-3), angles.double())  # float32 rounds areas by more than _TIE
    # Later angles are handicapped a little: rounding doesn't decide between rectangles of the same area.
    handicap = 1 + _TIE * torch.arange(angles.shape[-1], device=points.device)
    best = (areas(candidates) * handicap).argmin(-1)
    chosen = candidates.gather(-2, best[..., None, None].expand(*best.shape, 1, ROTATED)).squeeze(-2)
    return chosen.to(points.dtype)


def rectangles_at(points: Tensor, angles: Tensor) -> Tensor:
    """(..., 5) the rotated boxes at ``angles`` (...) around sets of points (..., k, 2)."""
    cos = angles.cos()
    sin = angles.sin()
    # The columns are the directions of width and height: `points @ axes` turns the boxes upright, `axes @` turns back.
    axes = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], dim=-2)
    extents = around_points(points @ axes)
    center = (axes @ centers(extents).unsqueeze(-1)).squeeze(-1)
    return torch.cat([center, sizes(extents), angles[..., None]], dim=-1)


def project(boxes: Tensor, matrix) -> Tensor:
    """Boxes of an image that was warped by a 3x3 ``matrix``: the smallest of their kind around the warped corners."""
    matrix = torch.as_tensor(matrix, dtype=torch.float64, device=boxes.device)
    points = corners(boxes).double()
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    warped = homogeneous[..., :2] / homogeneous[..., 2:]
    if boxes.shape[-1] == HORIZONTAL:
        mapped = around_points(warped)
    elif boxes.shape[-1] == ROTATED:
        mapped = warped_rectangles(warped)
    else:
        mapped = warped.flatten(-2)
    return mapped.to(boxes.dtype)


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances of points to the left, top, right and bottom side of boxes, a rotated box as seen when turned upright.

    Args:
        points: (..., 2) x and y in pixels.
        boxes: (..., 4 or 5), whose leading dimensions fit those of ``points``.

    Returns:
        (..., 4) in pixels, negative beyond a side.
    """
    if boxes.shape[-1] == HORIZONTAL:
        return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)
    local = turned_upright(points - boxes[..., :2], boxes[..., 4])
    half = boxes[..., 2:4] / 2
    return torch.cat([half + local, half - local], dim=-1)


def turned_upright(vectors: Tensor, angles: Tensor) -> Tensor:
    """(..., 2) vectors as they are seen from boxes that are turned by ``angles`` (...)."""
    cos = angles.cos()
    sin = angles.sin()
    x, y = vectors.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)


def are_inside(points: Tensor, img_shape: tuple[int, int], allowed_border: float = 0) -> Tensor:
    """(...) whether all points of sets (..., k, 2) lie in an image of (h, w), widened by ``allowed_border`` pixels."""
    limit = points.new_tensor([img_shape[1], img_shape[0]]) + allowed_border
    return ((points >= -allowed_border) & (points <= limit)).flatten(-2).all(-1)


def overlaps(a: Tensor, b: Tensor, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
    """Overlaps of boxes of either kind; of two different kinds, the rotated ones count as their enclosing boxes.

    Args:
        a: (n, 4 or 5).
        b: (m, 4 or 5); with ``is_aligned``, m = n.
        mode: 'iou', 'iof' (over the area of ``a``) or, of axis-aligned boxes, 'giou'.
        is_aligned: Compare box i of one with box i of the other only.

    Returns:
        (n, m), or (n,) if ``is_aligned``. Overlaps of rotated boxes carry no gradient.
    """
    if a.shape[-1] == b.shape[-1] == ROTATED:
        return box_iou_rotated(a, b, mode, is_aligned)
    return bbox_overlaps(to_horizontal(a), to_horizontal(b), mode, is_aligned)


def wrap(angles: Tensor, least: float, period: float) -> Tensor:
    """``angles`` in radians plus the multiple of ``period`` that puts them in [least, least + period)."""
    return (angles - least) % period + least


def regularize(boxes: Tensor, version: str) -> Tensor:
    """Rotated boxes (..., 5), the same rectangles, as an angle version writes them.

    Args:
        boxes: (..., 5).
        version: 'le90' (width is the longer side, angles in [-90, 90) degrees), 'le135' (the same, [-45, 135)) or 'oc'
            (angles in [-90, 0) degrees, as OpenCV once had them).

    Raises:
        ValueError: ``version`` is another one.
    """
    check_angle_version(version)
    width_is_longer, least = ANGLE_VERSIONS[version]
    if width_is_longer:
        written = longer_side_first(boxes)
        return torch.cat([written[..., :4], wrap(written[..., 4:], least, math.pi)], dim=-1)
    # 'oc' has a range of a quarter turn: beyond it the rectangle is written with its sides exchanged.
    angles = wrap(boxes[..., 4], least, math.pi)
    swap = angles >= least + math.pi / 2
    angles = torch.where(swap, angles - math.pi / 2, angles)
    sides = torch.where(swap[..., None], boxes[..., [3, 2]], boxes[..., 2:4])
    return torch.cat([boxes[..., :2], sides, angles[..., None]], dim=-1)


def longer_side_first(boxes: Tensor) -> Tensor:
    """Rotated boxes (..., 5), the same rectangles, whose width is the longer side; angles are not wrapped."""
    is_tall = boxes[..., 2] < boxes[..., 3]
    sides = torch.where(is_tall[..., None], boxes[..., [3, 2]], boxes[..., 2:4])
    angles = torch.where(is_tall, boxes[..., 4] + math.pi / 2, boxes[..., 4])
    return torch.cat([boxes[..., :2], sides, angles[..., None]], dim=-1)


def check_angle_version(version: str) -> None:
    """Raise a ``ValueError`` unless ``version`` is a way to write rotated boxes."""
    if version not in ANGLE_VERSIONS:
        raise ValueError(f'angle_version={version!r} is unknown; expected one of {", ".join(ANGLE_VERSIONS)}.')


def require_horizontal(boxes: Tensor, part: str) -> Tensor:
    """Return ``boxes`` if they are axis-aligned, the only ones that ``part`` of a detector takes.

    Raises:
        ConfigError: They aren't; the message names ``part``.
    """
    return require_kind(boxes, HORIZONTAL, part)


def require_kind(boxes: Tensor, box_dim: int, part: str) -> Tensor:
    """Return ``boxes`` if each has ``box_dim`` numbers, the only kind that ``part`` of a detector takes.

    Raises:
        ConfigError: It hasn't; the message names ``part``.
    """
    count = boxes.shape[-1]
    if count != box_dim:
        kind = f' ({KINDS[count]})' if count in KINDS else ''
        raise ConfigError(f'{part} takes {KINDS[box_dim]}, {box_dim} numbers each, but got {count} numbers{kind}.')
    return boxes


def as_kind_of(boxes: Tensor, others: Tensor) -> Tensor:
    """``boxes`` to be compared with ``others``: as the axis-aligned boxes around them if those are axis-aligned."""
    return to_horizontal(boxes) if others.shape[-1] == HORIZONTAL else boxes
