"""Placing the tags of boxes: inside the image, apart from each other, off small objects."""

from dataclasses import dataclass

import numpy as np

# of covering the whole of a tag, of a tag's own box, or of another box; `_candidates` has those of unusual positions
_TAG_OVERLAP_COST = 10.0
_OWN_BOX_COST = 1.5
_OTHER_BOXES_COST = 1.0


@dataclass(frozen=True)
class _Scene:
    boxes: np.ndarray
    areas: np.ndarray
    width: int
    height: int


def place_tags(boxes: np.ndarray, sizes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Choose a position for the tag of each box, the first box first.

    Args:
        boxes: Boxes (n, 4), xyxy, in pixels.
        sizes: Width and height (n, 2) of the tags in pixels, none larger than the image.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Returns:
        Top left corners (n, 2) of the tags, integers; every tag lies inside the image. Tags overlap only where no
        position at, in or near their boxes is free.
    """
    limits = np.array([width, height, width, height])
    boxes = np.clip(boxes, 0, limits)
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1.0)
    scene = _Scene(boxes, areas, width, height)
    placed = np.zeros((len(boxes), 4))
    for i in range(len(boxes)):
        placed[i] = _cheapest_tag(i, sizes[i], scene, placed[:i])
    return placed[:, :2].astype(int)


def _cheapest_tag(i: int, size: np.ndarray, scene: _Scene, placed: np.ndarray) -> np.ndarray:
    """The candidate (4,) xyxy for tag ``i`` that hides the least of boxes and of the tags ``placed`` before."""
    corners, detour = _candidates(scene.boxes[i], size)
    corners = np.clip(np.round(corners), 0, np.array([scene.width, scene.height]) - size)
    tags = np.concatenate([corners, corners + size], 1)
    covered = _intersections(tags, scene.boxes) / scene.areas
    cost = detour + _OTHER_BOXES_COST * covered.sum(1) + (_OWN_BOX_COST - _OTHER_BOXES_COST) * covered[:, i]
    cost += _TAG_OVERLAP_COST * _intersections(tags, placed).sum(1) / size.prod()
    return tags[np.argmin(cost)]


def _candidates(box: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Top left corners (c, 2) to try for one tag, and what each costs (c,) for being less usual."""
    x1, y1, x2, y2 = box
    w, h = size
    above = y1 - h
    below = y2
    left_end = x1
    right_end = x2 - w
    candidates = [
        (left_end, above, 0.0),
        (left_end, y1, 0.1),
        (left_end, below, 0.15),
        (right_end, above, 0.15),
        (right_end, below, 0.2),
        (left_end, y2 - h, 0.2),
        (right_end, y1, 0.2),
        (right_end, y2 - h, 0.25),
        (x2, y1, 0.3),
        (x1 - w, y1, 0.35),
        (x2, y2 - h, 0.35),
        (x1 - w, y2 - h, 0.4),
    ]
    candidates += [(left_end, above - k * h, 0.5 + 0.3 * k) for k in (1, 2)]
    candidates += [(left_end, below + k * h, 0.6 + 0.3 * k) for k in (1, 2)]
    table = np.array(candidates)
    return table[:, :2], table[:, 2]


def _intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection areas (len(a), len(b)) of two sets of boxes, xyxy."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(bottom_right - top_left, 0, None).prod(2)
