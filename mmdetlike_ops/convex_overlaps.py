"""Overlaps of rotated boxes, of quadrilaterals, and of point sets with quadrilaterals."""

import torch
from torch import Tensor

from ._checks import check_choice, check_device, check_table
from ._library import kernels

_MODES = ('iou', 'iof')


@torch.library.register_fake('mmdetlike_ops::convex_overlaps')
def _fake_convex_overlaps(a, b, over_first, aligned):
    return a.new_empty((a.shape[0],) if aligned else (a.shape[0], b.shape[0]))


def box_iou_rotated(a: Tensor, b: Tensor, mode: str = 'iou', aligned: bool = False, clockwise: bool = True) -> Tensor:
    """Intersection over union, or over the first box, of rotated boxes: exact, by clipping. Carries no gradient.

    Args:
        a: (n, 5) x and y of the center, width, height in pixels, and angle in radians. The y axis points down, as in
            images, so that a positive angle turns the box clockwise as seen.
        b: (m, 5); with `aligned`, m = n.
        mode: 'iou', or 'iof': intersection over the area of the box of `a`.
        aligned: Pair the i-th of `a` with the i-th of `b` only.
        clockwise: False where positive angles turn counter-clockwise. `rotated_boxes_from_detectron2` reads degrees.

    Returns:
        (n, m), with `aligned` (n,), of the wider of the two dtypes; 0 for a box without area or that is not finite.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_table('box_iou_rotated', 'a', a, 5)
    check_table('box_iou_rotated', 'b', b, 5)
    return _overlaps('box_iou_rotated', turned(a, clockwise), turned(b, clockwise), mode, aligned)


def box_iou_quadri(a: Tensor, b: Tensor, mode: str = 'iou', aligned: bool = False) -> Tensor:
    """Intersection over union, or over the first, of convex quadrilaterals: exact, by clipping. Carries no gradient.

    Args:
        a: (n, 8) x1 y1 ... x4 y4 of the corners in pixels, either way round. Where a quadrilateral is not convex, its
            convex hull is meant.
        b: (m, 8); with `aligned`, m = n.
        mode: 'iou', or 'iof': intersection over the area of the quadrilateral of `a`.
        aligned: Pair the i-th of `a` with the i-th of `b` only.

    Returns:
        (n, m), with `aligned` (n,), of the wider of the two dtypes; 0 for one without area or that is not finite.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_table('box_iou_quadri', 'a', a, 8)
    check_table('box_iou_quadri', 'b', b, 8)
    return _overlaps('box_iou_quadri', a, b, mode, aligned)


def convex_iou(pointsets: Tensor, polygons: Tensor) -> Tensor:
    """IoU of the convex hulls of point sets with quadrilaterals (Oriented RepPoints, arXiv 2105.11111). No gradient.

    Args:
        pointsets: (n, 18) x1 y1 ... x9 y9 in pixels.
        polygons: (k, 8) x1 y1 ... x4 y4, convex, either way round.

    Returns:
        (n, k), of the wider of the two dtypes; 0 for a hull or polygon without area or that is not finite.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    check_table('convex_iou', 'pointsets', pointsets, 18)
    check_table('convex_iou', 'polygons', polygons, 8)
    return _overlaps('convex_iou', pointsets, polygons, 'iou', False, ('pointsets', 'polygons'))


def turned(boxes: Tensor, clockwise: bool) -> Tensor:
    """Rotated boxes (n, 5) with clockwise angles, from boxes whose angles are so already if `clockwise` is set."""
    return boxes if clockwise else torch.cat([boxes[:, :4], -boxes[:, 4:]], dim=1)


def _overlaps(op, a, b, mode, aligned, names=('a', 'b')):
    check_device(op, names[1], b, a.device)
    check_choice(op, 'mode', mode, _MODES)
    if aligned and a.shape[0] != b.shape[0]:
        raise ValueError(f'{op}: aligned boxes are paired, but a has {a.shape[0]} and b {b.shape[0]}')
    dtype = torch.promote_types(a.dtype, b.dtype)
    return kernels.convex_overlaps(a.detach().to(dtype), b.detach().to(dtype), mode == 'iof', aligned)
