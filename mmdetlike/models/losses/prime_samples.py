"""Prime Sample Attention in Object Detection, arXiv 1904.04821: positives that count by how good their boxes are."""

import torch
from torch import Tensor

from mmdetlike.models.utils.suppress import ranks_in_groups


@torch.no_grad()
def importance_weights(
    overlaps: Tensor, objects: Tensor, labels: Tensor, losses: Tensor, k: float = 2.0, bias: float = 0.0
) -> Tensor:
    """Weights (P,) of P positives in the classification loss, which leave its sum as it is (ISR-P).

    Positives are ranked by the overlaps of their boxes, first among those of their object, then, the best ones of all
    objects before the second best ones, among those of their class.

    Args:
        overlaps: (P,) of the positives' predicted boxes with their objects.
        objects, labels: (P,) the object of each, counted through the batch, and its class.
        losses: (P,) or (P, C) the classification losses.
        k: Exponent of the weights: the larger, the more the best ones count.
        bias: Weight, before the exponent, of the last one.
    """
    if not len(overlaps):
        return overlaps
    largest_class = labels.bincount().max()
    # an overlap is at most 1: so the rank within an object comes first
    order = overlaps - ranks_within(overlaps, objects)
    weights = 1 - ranks_within(order, labels) / largest_class
    weights = (bias + weights * (1 - bias)).pow(k)
    of_positives = row_sums(losses)
    # all losses may be 0: then weights don't matter, but must be numbers
    weighted_sum = (of_positives * weights).sum().clamp(min=1e-12)
    return weights * of_positives.sum() / weighted_sum


def row_sums(losses: Tensor) -> Tensor:
    """(n,) the loss of each row of losses (n,) or (n, c)."""
    return losses if losses.dim() == 1 else losses.flatten(1).sum(1)


def ranks_within(values: Tensor, groups: Tensor) -> Tensor:
    """The rank (n,) of each of ``values`` (n,) in its group, of ``groups`` (n,) int64, by falling value, from 0."""
    return ranks_in_groups(values.argsort(descending=True, stable=True), groups)


def classification_aware_weights(scores: Tensor, k: float = 1.0, bias: float = 0.2) -> Tensor:
    """Weights (P,) of P positives in the loss of boxes (CARL), of mean 1: larger where the score is.

    ``scores`` (P,) in [0, 1] are those of each positive's class. They keep their gradient, so a positive whose box is
    bad learns a lower one. Weights are raised to the power ``k``; before, that of a score of 0 is ``bias``.
    """
    weights = (bias + (1 - bias) * scores).pow(k)
    return weights * (len(weights) / weights.sum()) if len(weights) else weights
