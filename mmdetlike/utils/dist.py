"""Helpers that several kinds of heads share."""

import torch
from mmengine.dist import all_reduce, get_world_size


def mean_over_ranks(value: float, device: torch.device) -> float:
    """The mean of a number over all processes.

    Gradients are averaged over processes, so a sum divided by this mean, not by the local number, gives each object
    the weight that it has when one process sees the whole batch.
    """
    if get_world_size() == 1:
        return float(value)
    total = torch.tensor(float(value), device=device)
    all_reduce(total, op='mean')
    return float(total)
