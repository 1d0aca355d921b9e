"""Ranking and suppression of candidate boxes, as all heads do it."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike_ops import batched_nms


def best_first(values: Tensor, limit: int = -1) -> Tensor:
    """Places of the ``limit`` (negative: all) largest ``values`` (n,), falling; equal ones as ``torch.sort`` has them.

    Scores of a network that is far off saturate and tie in great numbers, so the order of equal ones shows.
    """
    if 0 <= limit < len(values):
        top, inds = values.topk(limit + 1)  # ten times as fast as sorting, but equal values come in another order
        if (top[1:] < top[:-1]).all():
            return inds[:limit]
    return values.sort(descending=True).indices[: limit if limit >= 0 else None]


def suppress(candidates: InstanceData, nms_cfg: dict | None, limit: int, groups: Tensor | None = None) -> InstanceData:
    """Non-maximum suppression.

    Args:
        candidates: ``bboxes`` (n, 4) xyxy, ``scores`` (n,), ``labels`` (n,) and whatever else they have.
        nms_cfg: Settings of ``batched_nms``; None ranks and suppresses nothing.
        limit: Keep at most so many; all where it is not positive.
        groups: (n,), boxes of different groups don't suppress each other; by default ``labels``.

    Returns:
        The candidates that are kept, by falling score; scores as the suppression leaves them.
    """
    order = best_first(candidates.scores)
    ranked, groups = candidates[order], (candidates.labels if groups is None else groups)[order]
    dets, keep = batched_nms(ranked.bboxes, ranked.scores, groups, nms_cfg)
    limit = limit if limit > 0 else len(keep)
    kept = ranked[keep[:limit]]
    kept.bboxes, kept.scores = dets[:limit, :4], dets[:limit, 4]
    return kept
