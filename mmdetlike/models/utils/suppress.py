"""Ranking and non-maximum suppression of candidate boxes, which all heads share."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import batched_nms

# ways to rank boxes of equal score
TIES = ('sorted', 'given', 'torchvision')
# numbers of the boxes that a suppression takes, where not four
SUPPRESSED = {'nms_rotated': geometry.ROTATED, 'nms_quadri': geometry.QUADRILATERAL}


def best_first(values: Tensor, limit: int = -1) -> Tensor:
    """Indices of the ``limit`` (negative: all) largest ``values`` (n,), descending; ties as ``torch.sort`` has them.

    Scores of an untrained network saturate, and ties are many, so the order of equal ones shows in the result:
    detectors were recorded with that order, which depends on the CPU.
    """
    if _can_look(values, limit):
        top, inds = values.topk(limit + 1)  # ten times as fast as sorting, but equal values come in another order
        if (top[1:] < top[:-1]).all():
            return inds[:limit]
    return values.sort(descending=True).indices[: limit if limit >= 0 else None]


def first_of_best(values: Tensor, limit: int) -> Tensor:
    """As ``best_first``, but equal values come in their own order, and nothing is sorted beyond the ``limit`` best."""
    if not _can_look(values, limit):
        return values.sort(descending=True, stable=True).indices[: limit if limit >= 0 else None]
    top, inds = values.topk(limit + 1)
    if (top[1:] < top[:-1]).all():
        return inds[:limit]
    inds = (inds[:limit] if top[-1] < top[-2] else _first_of_tied(values, top[-1], limit)).sort().values
    return inds[values[inds].sort(descending=True, stable=True).indices]


def _can_look(values: Tensor, limit: int) -> bool:
    """Whether there is something to select; a graph doesn't know n, and cannot look at values to decide."""
    return not torch.compiler.is_compiling() and 0 < limit < len(values)


def _first_of_tied(values: Tensor, last: Tensor, limit: int) -> Tensor:
    """Indices of the ``limit`` largest ``values``, if more than that reach ``last``, the smallest of them."""
    better = (values > last).nonzero().squeeze(1)
    tied = (values == last).nonzero().squeeze(1)
    return torch.cat([better, tied[: limit - len(better)]])


def ranks_in_groups(order: Tensor, groups: Tensor) -> Tensor:
    """The rank (n,) of each element in its group, of ``groups`` (n,) int64, from 0, where ``order`` (n,) lists all."""
    # a stable sort by group keeps the order within each group
    by_group = order[groups[order].argsort(stable=True)]
    sizes = groups.bincount()
    starts = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(groups)
    ranks[by_group] = torch.arange(len(groups), device=groups.device) - starts[groups[by_group]]
    return ranks


def suppress_boxes(
    boxes: Tensor, scores: Tensor, groups: Tensor, nms_cfg: dict | None, limit: int, ties: str = 'sorted'
) -> tuple[Tensor, Tensor, Tensor]:
    """Non-maximum suppression, of tensors.

    Args:
        boxes: (n, 4) xyxy, or what else ``nms_cfg.type`` takes, such as rotated boxes (n, 5).
        scores: (n,).
        groups: (n,) boxes of different groups don't suppress each other.
        nms_cfg: Settings of ``batched_nms``; None ranks and suppresses nothing.
        limit: Keep at most so many; all where it is not positive.
        ties: Which of several boxes of equal score suppresses the others and comes first: as ``torch.sort`` has them
            (``'sorted'``), as they are given (``'given'``), or as in torchvision (``'torchvision'``): the first one
            given suppresses the others, and ``torch.sort`` ranks what is left.

    Returns:
        Boxes, scores as the suppression leaves them, and indices among the n, each of those kept, by descending score.

    Raises:
        ConfigError: The boxes are of a kind that this suppression doesn't take, or ``ties`` is unknown.
    """
    if ties not in TIES:
        raise ConfigError(f'ties={ties!r} should be one of {", ".join(TIES)}')
    if nms_cfg is not None:
        kind = nms_cfg.get('type', 'nms')
        geometry.require_kind(boxes, SUPPRESSED.get(kind, geometry.HORIZONTAL), f'nms={kind!r}')
    # sorted here, so that equal scores come in the order of ``torch.sort`` whatever the suppression does
    order = best_first(scores) if ties == 'sorted' else scores.argsort(descending=True, stable=True)
    dets, keep = batched_nms(boxes[order], scores[order], groups[order], nms_cfg)
    if ties == 'torchvision':
        # which sorts once more, what is left in the order it was given
        as_given = order[keep].argsort()
        ranked = as_given[best_first(dets[as_given, -1])]
        dets = dets[ranked]
        keep = keep[ranked]
    if limit > 0:
        dets = dets[:limit]
        keep = keep[:limit]
    return dets[:, :-1], dets[:, -1], order[keep]


def suppress(candidates: InstanceData, nms_cfg: dict | None, limit: int, groups: Tensor | None = None) -> InstanceData:
    """``suppress_boxes`` of instances with ``bboxes``, ``scores``, ``labels`` and whatever else they have.

    ``groups`` (n,) are by default the labels.
    """
    groups = candidates.labels if groups is None else groups
    boxes, scores, kept = suppress_boxes(candidates.bboxes, candidates.scores, groups, nms_cfg, limit)
    result = candidates[kept]
    result.bboxes, result.scores = boxes, scores
    return result
