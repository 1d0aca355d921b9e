"""Non-maximum suppression of rotated boxes and of quadrilaterals."""

import torch
from torch import Tensor

from ._checks import check_device, check_range, check_scored_boxes, check_vector
from ._library import kernels
from .convex_overlaps import turned


@torch.library.register_fake('mmdetlike_ops::nms_rotated')
def _fake_nms_rotated(boxes, scores, order, groups, iou_threshold):
    return boxes.new_empty(boxes.shape[0], dtype=torch.bool)


def nms_rotated(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None, clockwise: bool = True
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of rotated boxes.

    A box is kept if its IoU with every kept box of higher score (and the same label) is at most `iou_threshold`. Boxes
    of equal score are visited in the order they come. A box whose score is NaN is never kept.

    Args:
        boxes: (n, 5) x and y of the center, width, height in pixels, angle in radians.
        scores: (n,).
        iou_threshold: From 0 to 1.
        labels: (n,) integers; boxes of different label never suppress each other. None is one label for all.
        clockwise: Positive angles turn clockwise, where the y axis points down.

    Returns:
        The kept boxes, as given, with their scores (k, 6), by falling score, and their indices (k,). Gradients flow to
        the kept boxes and scores.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    return grouped_convex_nms('nms_rotated', boxes, scores, labels, iou_threshold, clockwise)


def nms_quadri(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of convex quadrilaterals; see `nms_rotated`.

    Args:
        boxes: (n, 8) x1 y1 ... x4 y4 of the corners in pixels, either way round.
        scores: (n,).
        iou_threshold: From 0 to 1.
        labels: (n,) integers; boxes of different label never suppress each other. None is one label for all.

    Returns:
        The kept boxes with their scores (k, 9), by falling score, and their indices (k,).

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    return grouped_convex_nms('nms_quadri', boxes, scores, labels, iou_threshold)


COLUMNS = {'nms_rotated': 5, 'nms_quadri': 8}


def grouped_convex_nms(
    op: str,
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor | None,
    iou_threshold: float,
    clockwise: bool = True,
) -> tuple[Tensor, Tensor]:
    """`nms_rotated` or `nms_quadri` (`op`) where only boxes of one group suppress each other; None puts all in one."""
    check_scored_boxes(op, boxes, scores, COLUMNS[op])
    check_range(op, 'iou_threshold', iou_threshold, 0, 1)
    if groups is not None:
        check_vector(op, 'labels', groups, boxes.shape[0])
        check_device(op, 'labels', groups, boxes.device)
        groups = groups.to(torch.int64)
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    order = scores.detach().argsort(descending=True, stable=True)
    shapes = turned(boxes.detach().to(dtype), clockwise)
    keep = kernels.nms_rotated(shapes, scores.detach().to(dtype), order, groups, float(iou_threshold))
    kept = order[keep]
    return torch.cat([boxes[kept], scores[kept, None]], dim=1), kept
