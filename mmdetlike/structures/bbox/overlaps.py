"""Overlaps between axis-aligned boxes."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # box objects are built on this module
    from mmdetlike.structures.bbox.base_boxes import BaseBoxes

MODES = ('iou', 'iof', 'giou')


def bbox_overlaps(
    bboxes1: 'Tensor | BaseBoxes',
    bboxes2: 'Tensor | BaseBoxes',
    mode: str = 'iou',
    is_aligned: bool = False,
    eps: float = 1e-6,
) -> Tensor:
    """Overlap of each box of one set with each of another, or of the pairs of two sets of equal length.

    Half-precision boxes are compared in float32, since the area of a box of 256 pixels overflows float16. No
    intermediate is larger than the result.

    Args:
        bboxes1: (..., n, 4), xyxy in pixels, a tensor or box objects.
        bboxes2: (..., m, 4), the same leading dimensions.
        mode: 'iou', 'iof' (intersection over the area of ``bboxes1``) or 'giou' (Generalized Intersection over
            Union, arXiv 1902.09630).
        is_aligned: Compare box i of one with box i of the other; then n must equal m.
        eps: Least denominator.

    Returns:
        (..., n, m), or (..., n) if ``is_aligned``.

    Raises:
        ValueError: ``mode`` is unknown or the shapes don't fit.
    """
    bboxes1 = _plain(bboxes1)
    bboxes2 = _plain(bboxes2)
    _check(bboxes1, bboxes2, mode, is_aligned)
    dtype = torch.promote_types(bboxes1.dtype, bboxes2.dtype)
    if dtype in (torch.float16, torch.bfloat16):
        return bbox_overlaps(bboxes1.float(), bboxes2.float(), mode, is_aligned, eps).to(dtype)
    a, b = bboxes1, bboxes2
    if not is_aligned:
        a = a.unsqueeze(-2)
        b = b.unsqueeze(-3)
    area_a = _area(a)
    area_b = _area(b)
    intersection = _extent(a, b, 0, inner=True).clamp(min=0) * _extent(a, b, 1, inner=True).clamp(min=0)
    union = (area_a + area_b - intersection if mode != 'iof' else area_a).clamp(min=eps)
    overlaps = intersection / union
    if mode == 'giou':
        hull = (_extent(a, b, 0, inner=False) * _extent(a, b, 1, inner=False)).clamp(min=eps)
        overlaps = overlaps - (hull - union) / hull
    return overlaps


def pairwise_ioa(boxes1: 'Tensor | BaseBoxes', boxes2: 'Tensor | BaseBoxes') -> Tensor:
    """Intersection over the area of ``boxes2``, (n, m), of boxes (n, 4) and (m, 4), xyxy in pixels.

    ``bbox_overlaps(..., mode='iof')`` divides by the area of its first argument instead.
    """
    return bbox_overlaps(boxes2, boxes1, mode='iof').T


def _plain(boxes: 'Tensor | BaseBoxes') -> Tensor:
    return boxes if isinstance(boxes, Tensor) else boxes.tensor


def _check(bboxes1: Tensor, bboxes2: Tensor, mode: str, is_aligned: bool) -> None:
    if mode not in MODES:
        raise ValueError(f'mode={mode!r} is unknown; expected one of {", ".join(MODES)}.')
    shapes = f'got shapes {tuple(bboxes1.shape)} and {tuple(bboxes2.shape)}'
    if bboxes1.shape[-1] != 4 or bboxes2.shape[-1] != 4:
        raise ValueError(f'Boxes must end in 4 coordinates; {shapes}.')
    if bboxes1.shape[:-2] != bboxes2.shape[:-2]:
        raise ValueError(f'Boxes must have the same leading dimensions; {shapes}.')
    if is_aligned and bboxes1.shape[-2] != bboxes2.shape[-2]:
        raise ValueError(f'is_aligned=True needs as many boxes on both sides; {shapes}.')


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _extent(a: Tensor, b: Tensor, axis: int, inner: bool) -> Tensor:
    """Length along ``axis`` of the boxes' intersection (``inner``) or hull; the former may be negative."""
    low, high = (torch.maximum, torch.minimum) if inner else (torch.minimum, torch.maximum)
    return high(a[..., axis + 2], b[..., axis + 2]) - low(a[..., axis], b[..., axis])
