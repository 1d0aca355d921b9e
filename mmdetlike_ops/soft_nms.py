"""Soft non-maximum suppression: overlapping boxes lose score instead of being dropped."""

import torch
from torch import Tensor

from ._checks import check_choice, check_range, check_scored_boxes
from ._library import kernels

_METHODS = ('naive', 'linear', 'gaussian')


@torch.library.register_fake('mmdetlike_ops::soft_nms')
def _fake_soft_nms(boxes, scores, groups, iou_threshold, sigma, min_score, method, offset):
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Soft non-maximum suppression (Soft-NMS: Improving Object Detection With One Line of Code, arXiv 1704.04503).

    Boxes are taken by falling score; each one taken multiplies the scores of the others by a factor of their IoU, and
    those that fall below `min_score` are dropped. A box whose score is NaN is never kept.

    Args:
        boxes: (n, 4) xyxy in pixels.
        scores: (n,).
        iou_threshold: For 'linear' and 'naive', the IoU from which scores decay; from 0 to 1.
        sigma: For 'gaussian', the factor is exp(-IoU^2 / sigma).
        min_score: Boxes below it are dropped.
        method: 'linear' (factor 1 - IoU), 'gaussian' or 'naive' (factor 0).
        offset: 1 where the right and bottom pixel belong to a box, else 0.

    Returns:
        The kept boxes with their decayed scores (k, 5), by falling score, and their indices (k,). Scores carry no
        gradient.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    return grouped_soft_nms(boxes, scores, None, iou_threshold, sigma, min_score, method, offset)


def grouped_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor | None,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """`soft_nms` where only boxes of one group, (n,) int64, lower each other's scores; None puts all in one."""
    check_scored_boxes('soft_nms', boxes, scores)
    check_choice('soft_nms', 'method', method, _METHODS)
    check_choice('soft_nms', 'offset', offset, (0, 1))
    check_range('soft_nms', 'iou_threshold', iou_threshold, 0, 1)
    check_range('soft_nms', 'sigma', sigma, 1e-12, float('inf'))
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    decayed = kernels.soft_nms(
        boxes.detach().to(dtype),
        scores.detach().to(dtype),
        groups,
        float(iou_threshold),
        float(sigma),
        float(min_score),
        _METHODS.index(method),
        offset,
    )
    kept = decayed.argsort(descending=True, stable=True)
    kept = kept[~decayed[kept].isnan()]  # the kernel marks what is dropped by NaN
    return torch.cat([boxes[kept], decayed[kept, None]], dim=1), kept
