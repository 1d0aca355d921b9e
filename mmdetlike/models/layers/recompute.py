"""Activation checkpointing: the backward pass computes activations again, which saves memory."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def maybe_recompute(recompute: bool, function: Callable[..., Tensor], x: Tensor, *args, **kwargs) -> Tensor:
    """``function(x, ...)``; with ``recompute`` its activations aren't kept for the backward pass."""
    # without a gradient, as in testing or in frozen stages, nothing would be saved
    if recompute and x.requires_grad:
        return checkpoint(function, x, *args, use_reentrant=False, **kwargs)
    return function(x, *args, **kwargs)
