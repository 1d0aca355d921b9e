"""Overlaps of axis-aligned boxes."""

import torch
from torch import Tensor

from ._checks import check_choice, check_device, check_table
from ._library import kernels

_MODES = ('iou', 'iof', 'giou')


@torch.library.register_fake('mmdetlike_ops::bbox_overlaps')
def _fake_bbox_overlaps(a, b, mode, aligned, offset):
    return a.new_empty((a.shape[0],) if aligned else (a.shape[0], b.shape[0]))


def bbox_overlaps(a: Tensor, b: Tensor, mode: str = 'iou', aligned: bool = False, offset: int = 0) -> Tensor:
    """Intersection over union, or over the first box, or generalized, of boxes. Carries no gradient.

    Args:
        a: (n, 4) xyxy in pixels.
        b: (m, 4); with `aligned`, m = n.
        mode: 'iou'; 'iof': intersection over the area of the box of `a`; 'giou': IoU less the share of the smallest box
            around both that neither covers, from -1 to 1 (arXiv 1902.09630).
        aligned: Pair the i-th of `a` with the i-th of `b` only.
        offset: 1 where the right and bottom pixel belong to a box, else 0.

    Returns:
        (n, m), with `aligned` (n,), of the wider of the two dtypes; 0 where both boxes have no area (for 'giou', where
        the box around them has none) or one is not finite.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_table('bbox_overlaps', 'a', a, 4)
    check_table('bbox_overlaps', 'b', b, 4)
    check_device('bbox_overlaps', 'b', b, a.device)
    check_choice('bbox_overlaps', 'mode', mode, _MODES)
    check_choice('bbox_overlaps', 'offset', offset, (0, 1))
    if aligned and a.shape[0] != b.shape[0]:
        raise ValueError(f'bbox_overlaps: aligned boxes are paired, but a has {a.shape[0]} and b {b.shape[0]}')
    dtype = torch.promote_types(a.dtype, b.dtype)
    return kernels.bbox_overlaps(a.detach().to(dtype), b.detach().to(dtype), _MODES.index(mode), aligned, offset)
