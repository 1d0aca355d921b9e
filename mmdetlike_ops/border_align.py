"""BorderAlign: features of the borders of boxes."""

import torch
from torch import Tensor, nn

from ._checks import check_device, check_floating, check_plane
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::border_align')
def _fake_border_align(x, boxes, pool_size):
    shape = (x.shape[0], x.shape[1] // 4, boxes.shape[1], 4)
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int32)


@torch.library.register_fake('mmdetlike_ops::border_align_backward')
def _fake_backward(grad, boxes, argmax, height, width, pool_size, deterministic):
    return grad.new_empty(grad.shape[0], 4 * grad.shape[1], height, width)


def _setup_context(ctx, inputs, output):
    x, boxes, ctx.pool_size = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(boxes, output[1])


def _backward(ctx, grad, _):
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x = kernels.border_align_backward(grad, *ctx.saved_tensors, *ctx.size, ctx.pool_size, deterministic)
    return grad_x, None, None


register_backward('border_align', _backward, _setup_context)


def border_align(input: Tensor, boxes: Tensor, pool_size: int) -> Tensor:
    """Take the largest of `pool_size` + 1 bilinear samples along each border of boxes (BorderDet, arXiv 2007.11056).

    Args:
        input: (b, 4c, h, w), c channels each for the top, left, bottom and right borders.
        boxes: (b, k, 4) xyxy in pixels of the features; BorderDet has one for each pixel, k = h * w. They carry no
            gradient.
        pool_size: Steps along a border.

    Returns:
        (b, c, k, 4), of the dtype of `input`; the last axis is top, left, bottom, right. Samples more than one pixel
        outside the map count as 0.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    op = 'border_align'
    check_floating(op, 'input', input)
    check_floating(op, 'boxes', boxes)
    check_device(op, 'boxes', boxes, input.device)
    if input.dim() != 4 or input.shape[1] % 4 or 0 in input.shape[2:]:
        raise ValueError(
            f'{op}: input has shape {tuple(input.shape)}, (b, 4c, h, w) with at least one pixel is expected'
        )
    check_plane(op, 'input', input)
    if boxes.dim() != 3 or boxes.shape[0] != input.shape[0] or boxes.shape[2] != 4:
        raise ValueError(f'{op}: boxes has shape {tuple(boxes.shape)}, ({input.shape[0]}, k, 4) is expected')
    if pool_size < 1:
        raise ValueError(f'{op}: pool_size is {pool_size}, a positive number is expected')
    boxes = boxes.detach().to(torch.float64 if input.dtype == torch.float64 else torch.float32)
    return kernels.border_align(input, boxes, pool_size)[0]


class BorderAlign(nn.Module):
    """`border_align` as a module.

    Args:
        pool_size: Steps along a border.
    """

    def __init__(self, pool_size: int):
        super().__init__()
        self.pool_size = pool_size

    def forward(self, input: Tensor, boxes: Tensor) -> Tensor:
        """Features (b, c, k, 4) of the borders of `boxes` (b, k, 4) from `input` (b, 4c, h, w)."""
        return border_align(input, boxes, self.pool_size)

    def extra_repr(self) -> str:
        return f'pool_size={self.pool_size}'
