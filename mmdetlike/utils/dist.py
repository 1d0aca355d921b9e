"""Averages over the processes of a distributed training."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def mean_over_ranks(value: float | Tensor, device: torch.device, least: float | None = None) -> float | Tensor:
    """The mean of a number over all processes.

    Gradients are averaged over processes, so a sum divided by this mean, not by the local number, gives each object
    the weight that it has when one process sees the whole batch.

    Args:
        value: A number, or a tensor of one, which stays on its device: asking for its value would wait for the device.
        device: Where numbers are brought together.
        least: The result is not below this.

    Returns:
        A number where ``value`` is one and there is one process, else a tensor without gradient.
    """
    if get_world_size() > 1:
        value = torch.as_tensor(value, dtype=torch.float32, device=device).detach().clone()
        all_reduce(value, op='mean')
    if least is None:
        return value
    return value.detach().clamp(min=least) if isinstance(value, Tensor) else max(float(value), least)
