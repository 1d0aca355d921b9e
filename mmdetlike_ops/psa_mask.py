"""PSAMask: turns a mask around each pixel into attention between all pixels."""

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_choice, check_floating
from ._library import kernels, register_backward

_TYPES = ('collect', 'distribute')


@torch.library.register_fake('mmdetlike_ops::psa_mask')
def _fake_mask(x, collect, mask_height, mask_width):
    n, _, h, w = x.shape
    return x.new_empty(n, h * w, h, w)


@torch.library.register_fake('mmdetlike_ops::psa_mask_backward')
def _fake_backward(grad, collect, mask_height, mask_width):
    n, _, h, w = grad.shape
    return grad.new_empty(n, mask_height * mask_width, h, w)


def _setup_context(ctx, inputs, output):
    _, *ctx.settings = inputs


def _backward(ctx, grad):
    return kernels.psa_mask_backward(grad, *ctx.settings), None, None, None


register_backward('psa_mask', _backward, _setup_context)


def psa_mask(input: Tensor, psa_type: str, mask_size: int | tuple[int, int] | None = None) -> Tensor:
    """Place the mask of each pixel, centered on it, in the map (PSANet: Point-wise Spatial Attention, ECCV 2018).

    Args:
        input: (n, mask height * mask width, h, w), for each pixel how it weighs the pixels around it, row by row.
        psa_type: 'collect': channel j of a pixel of the output is its weight of pixel j, counted row by row;
            'distribute': channel j is the weight that pixel j has for it.
        mask_size: (height, width) of the masks, or one number for both; None for (2h - 1, 2w - 1), with which every
            pixel sees all.

    Returns:
        (n, h * w, h, w), of the dtype of `input`; 0 where a mask does not reach.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or value.
    """
    check_floating('psa_mask', 'input', input)
    check_choice('psa_mask', 'psa_type', psa_type, _TYPES)
    if input.dim() != 4:
        raise ValueError(f'psa_mask: input has shape {tuple(input.shape)}, (n, mask pixels, h, w) is expected')
    _, channels, h, w = input.shape
    height, width = (2 * h - 1, 2 * w - 1) if mask_size is None else _pair(mask_size)
    if height < 1 or width < 1 or channels != height * width:
        raise ValueError(
            f'psa_mask: input has {channels} channels, the product of mask_size {(height, width)} is expected'
        )
    return kernels.psa_mask(input, psa_type == 'collect', height, width)


class PSAMask(nn.Module):
    """`psa_mask` as a module.

    Args:
        psa_type: 'collect' or 'distribute'.
        mask_size: (height, width) of the masks, or one number for both; None for (2h - 1, 2w - 1).
    """

    def __init__(self, psa_type: str, mask_size: int | tuple[int, int] | None = None):
        super().__init__()
        check_choice('PSAMask', 'psa_type', psa_type, _TYPES)
        self.psa_type = psa_type
        self.mask_size = mask_size

    def forward(self, input: Tensor) -> Tensor:
        """Map masks (n, mask height * mask width, h, w) to attention (n, h * w, h, w)."""
        return psa_mask(input, self.psa_type, self.mask_size)

    def extra_repr(self) -> str:
        return f'psa_type={self.psa_type!r}, mask_size={self.mask_size}'
