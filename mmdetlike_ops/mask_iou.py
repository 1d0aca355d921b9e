"""Overlaps of masks."""

import torch
from torch import Tensor

from ._checks import check_choice, check_device, check_shape

_CHUNK_BYTES = 64 << 20


def mask_iou(a: Tensor, b: Tensor, mode: str = 'iou') -> Tensor:
    """Intersection over union, or over the first mask, of all pairs of masks. Carries no gradient.

    Args:
        a: (n, h, w); a pixel belongs to the mask where it is not 0.
        b: (m, h, w).
        mode: 'iou', or 'iof': intersection over the area of the mask of `a`.

    Returns:
        (n, m) float32; 0 where neither mask (for 'iof': the first) has a pixel.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_shape('mask_iou', 'a', a, ('n', 'h', 'w'))
    check_shape('mask_iou', 'b', b, ('m', *a.shape[1:]))
    check_device('mask_iou', 'b', b, a.device)
    check_choice('mask_iou', 'mode', mode, ('iou', 'iof'))
    a = a != 0
    b = b != 0
    shared = mask_intersections(a, b)
    area = a.sum((1, 2))[:, None]
    whole = area.float() if mode == 'iof' else area + b.sum((1, 2)) - shared
    return shared / whole.clamp(min=1)


def mask_intersections(a: Tensor, b: Tensor) -> Tensor:
    """The number of pixels, (n, m) float32, that each mask of `a` (n, h, w) bool shares with each of `b` (m, h, w).

    Intersections are a product of matrices, computed from a part of the pixels at a time: all masks in float32 would
    take four times their memory.
    """
    first = a.flatten(1)
    second = b.flatten(1)
    shared = torch.zeros(len(a), len(b), device=a.device)
    step = max(_CHUNK_BYTES // (4 * max(len(a) + len(b), 1)), 1)
    with torch.autocast(a.device.type, enabled=False):  # float16 cannot count beyond 2048
        for start in range(0, first.shape[1], step):
            part = slice(start, start + step)
            shared += first[:, part].float() @ second[:, part].float().T
    return shared
