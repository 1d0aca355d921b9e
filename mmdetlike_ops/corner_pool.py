"""CornerPool: the largest value from a pixel to an edge of the map."""

import torch
from torch import Tensor, nn

from ._checks import check_choice, check_floating
from ._library import kernels, register_backward

# the axis, and whether the maximum runs toward smaller indices
_MODES = {'bottom': (2, False), 'left': (3, True), 'right': (3, False), 'top': (2, True)}


@torch.library.register_fake('mmdetlike_ops::corner_pool')
def _fake_pool(x, dim, reverse):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.register_fake('mmdetlike_ops::corner_pool_backward')
def _fake_backward(grad, x, out, dim, reverse):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _setup_context(ctx, inputs, output):
    x, *ctx.settings = inputs
    ctx.save_for_backward(x, output)


def _backward(ctx, grad):
    return kernels.corner_pool_backward(grad, *ctx.saved_tensors, *ctx.settings), None, None


register_backward('corner_pool', _backward, _setup_context)


class CornerPool(nn.Module):
    """The running maximum along an axis of the map (CornerNet, arXiv 1808.01244).

    The corner of a box often lies outside of its object: it learns of the object from the maximum along the row or
    column that it bounds. Among equal values the gradient goes to the last one that the maximum passes.

    Args:
        mode: Where the maximum runs to: with 'top' a pixel receives the largest value at or below it, with 'bottom' at
            or above it, with 'left' at or right of it, with 'right' at or left of it.

    Raises:
        ValueError: `mode` is none of these.
    """

    def __init__(self, mode: str):
        super().__init__()
        check_choice('CornerPool', 'mode', mode, tuple(_MODES))
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Pool `x` (n, c, h, w); the shape stays."""
        check_floating('CornerPool', 'x', x)
        if x.dim() != 4:
            raise ValueError(f'CornerPool: x has shape {tuple(x.shape)}, (n, c, h, w) is expected')
        return kernels.corner_pool(x, *_MODES[self.mode])

    def extra_repr(self) -> str:
        return f'mode={self.mode!r}'
