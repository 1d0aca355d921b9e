"""What torch does with most tensors, and we also with lone, empty and traced ones."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """``torch.cat``, which gives a lone tensor back without copying it."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim)


def nonzero_tuple(x: Tensor) -> tuple[Tensor, ...]:
    """Indices of the elements that aren't zero, one tensor for each dimension; of a scalar, as if it had one."""
    return x.reshape(1).nonzero(as_tuple=True) if x.dim() == 0 else x.nonzero(as_tuple=True)


def cross_entropy(input: Tensor, target: Tensor, *, reduction: str = 'mean', **kwargs) -> Tensor:
    """``torch.nn.functional.cross_entropy`` whose mean over nothing is 0, with a gradient, instead of NaN.

    ``input`` are logits (n, c), ``target`` class indices (n,); all arguments are those of torch's function.
    """
    if target.numel() == 0 and reduction == 'mean':
        return input.sum() * 0.0  # a sum keeps the graph: distributed training needs a gradient of every parameter
    return F.cross_entropy(input, target, reduction=reduction, **kwargs)
