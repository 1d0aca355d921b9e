"""Precise RoI pooling: the exact mean of the bilinear surface over each bin of a region."""

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_regions
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::prroi_pool')
def _fake_prroi_pool(x, rois, bins_y, bins_x, scale):
    return x.new_empty(rois.shape[0], x.shape[1], bins_y, bins_x)


@torch.library.register_fake('mmdetlike_ops::prroi_pool_backward')
def _fake_prroi_pool_backward(grad, x, rois, scale, with_rois, deterministic):
    return grad.new_empty(x.shape), rois.new_empty(rois.shape[0] if with_rois else 0, 5)


def _setup_context(ctx, inputs, output):
    x, rois, _, _, ctx.scale = inputs
    ctx.save_for_backward(x, rois)


def _backward(ctx, grad):
    with_rois = ctx.needs_input_grad[1]
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x, grad_rois = kernels.prroi_pool_backward(grad, *ctx.saved_tensors, ctx.scale, with_rois, deterministic)
    return grad_x, grad_rois if with_rois else None, None, None, None


register_backward('prroi_pool', _backward, _setup_context)


def prroi_pool(x: Tensor, rois: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Tensor:
    """Average the bilinear surface over each bin (Acquisition of Localization Confidence, IoU-Net, arXiv 1807.11590).

    The integral is exact, so that there is a gradient to the corners of regions as well. Pixels lie at whole
    coordinates; beyond the border the surface falls to 0 within one pixel.

    Args:
        x: (n, c, h, w) features.
        rois: (k, 5), image index in the batch and xyxy in pixels of the image.
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.

    Returns:
        (k, c, height, width), of the dtype of `x`; 0 for a region without area.
        On CUDA the gradient of `x` is summed atomically, in any order, unless
        `torch.use_deterministic_algorithms(True)` is set.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
        RuntimeError: A region names an image that the batch does not have (CPU; on CUDA its features are 0).
    """
    height, width = _pair(output_size)
    check_regions('prroi_pool', x, rois, height, width)
    rois = rois.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    return kernels.prroi_pool(x, rois, height, width, float(spatial_scale))


class PrRoIPool(nn.Module):
    """`prroi_pool` as a module.

    Args:
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
    """

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0):
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 5)."""
        return prroi_pool(x, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f'output_size={self.output_size}, spatial_scale={self.spatial_scale}'
