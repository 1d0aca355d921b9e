"""Memory for compute: activations that the backward pass computes again."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def maybe_recompute(recompute: bool, function: Callable[..., Tensor], x: Tensor, *args, **kwargs) -> Tensor:
    """``function(x, ...)``; with ``recompute`` its activations aren't kept for the backward pass."""
    if recompute and x.requires_grad:
        return checkpoint(function, x, *args, use_reentrant=False, **kwargs)
    return function(x, *args, **kwargs)
