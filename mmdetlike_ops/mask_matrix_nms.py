"""Matrix non-maximum suppression of masks."""

import torch
from torch import Tensor

from ._checks import check_choice, check_device, check_float, check_shape, check_vector
from .mask_iou import mask_intersections

_KERNELS = ('gaussian', 'linear')


def mask_matrix_nms(
    masks: Tensor,
    labels: Tensor,
    scores: Tensor,
    filter_thr: float = -1,
    nms_pre: int = -1,
    max_num: int = -1,
    kernel: str = 'gaussian',
    sigma: float = 2.0,
    mask_area: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matrix NMS: all masks lose score at once, by their overlap with better masks of their class (SOLOv2, 2003.10152).

    The factor of a mask is the least, over all better masks of its class, of f(IoU of both) / f(largest IoU of the
    better mask with one still better).

    Args:
        masks: (n, h, w) bool.
        labels: (n,) class indices.
        scores: (n,).
        filter_thr: If positive, masks whose decayed score is below it are dropped.
        nms_pre: If positive, only that many masks of highest score take part.
        max_num: If positive, at most that many masks are kept.
        kernel: f is exp(-sigma IoU^2) for 'gaussian', 1 - IoU for 'linear'.
        sigma: Of the gaussian kernel.
        mask_area: (n,) pixels of each mask, where they are known already.

    Returns:
        Decayed scores (k,), by falling score, with their labels (k,), masks (k, h, w) and indices (k,).

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    _check_masks(masks, labels, scores, mask_area)
    check_choice('mask_matrix_nms', 'kernel', kernel, _KERNELS)
    masks = masks != 0
    area = masks.sum((1, 2)) if mask_area is None else mask_area
    kept = scores.argsort(descending=True, stable=True)
    kept = kept[:nms_pre] if nms_pre > 0 else kept
    overlaps = _overlaps_with_better(masks[kept], labels[kept], area[kept])
    decayed = scores[kept] * _decay(overlaps, kernel, sigma).to(scores.dtype)
    order = decayed.argsort(descending=True, stable=True)
    order = order[decayed[order] >= filter_thr] if filter_thr > 0 else order
    order = order[:max_num] if max_num > 0 else order
    kept = kept[order]
    return decayed[order], labels[kept], masks[kept], kept


def _check_masks(masks: Tensor, labels: Tensor, scores: Tensor, mask_area: Tensor | None) -> None:
    check_shape('mask_matrix_nms', 'masks', masks, ('n', 'h', 'w'))
    check_float('mask_matrix_nms', 'scores', scores)
    vectors = {'labels': labels, 'scores': scores, 'mask_area': mask_area}
    for name, x in vectors.items():
        if x is not None:
            check_vector('mask_matrix_nms', name, x, len(masks))
            check_device('mask_matrix_nms', name, x, masks.device)


def _overlaps_with_better(masks: Tensor, labels: Tensor, area: Tensor) -> Tensor:
    """IoU (n, n) of each column with the rows above it, the better masks; 0 for another class and elsewhere."""
    shared = mask_intersections(masks, masks)
    iou = shared / (area[:, None] + area - shared).clamp(min=1)
    return (iou * (labels[:, None] == labels)).triu(diagonal=1)


def _decay(overlaps: Tensor, kernel: str, sigma: float) -> Tensor:
    """The factors (n,) of the scores, from `overlaps` (n, n) of masks (columns) with better ones (rows)."""
    if len(overlaps) == 0:
        return overlaps.new_ones(0)
    largest = overlaps.amax(dim=0)[:, None]
    if kernel == 'gaussian':
        return torch.exp(sigma * (largest.square() - overlaps.square())).amin(dim=0)
    # A copy of a better mask decays to nothing itself, and then suppresses nothing.
    return ((1 - overlaps) / (1 - largest).clamp(min=1e-6)).amin(dim=0)
