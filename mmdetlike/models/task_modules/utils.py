"""Small rearrangements that targets and priors share."""

from collections.abc import Sequence

import torch
from torch import Tensor


def images_to_levels(target: Sequence[Tensor], num_levels: Sequence[int]) -> list[Tensor]:
    """Turn one tensor an image into one tensor a level.

    Args:
        target: For each of B images a tensor (N, ...), all levels in a row.
        num_levels: Number of priors in each level; their sum is N.

    Returns:
        For each level a tensor (B, n_l, ...).
    """
    return list(torch.stack(list(target)).split(list(num_levels), dim=1))


def unmap(data: Tensor, count: int, inds: Tensor, fill: float = 0) -> Tensor:
    """Scatter ``data`` (n, ...) to the places ``inds`` (a mask of n True values) of a tensor (count, ...)."""
    out = data.new_full((count, *data.shape[1:]), fill)
    out[inds] = data
    return out
