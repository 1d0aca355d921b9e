"""RoIPool: the largest feature of each bin of a region."""

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_regions
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::roi_pool')
def _fake_roi_pool(x, rois, bins_y, bins_x, scale):
    shape = (rois.shape[0], x.shape[1], bins_y, bins_x)
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int32)


@torch.library.register_fake('mmdetlike_ops::roi_pool_backward')
def _fake_roi_pool_backward(grad, rois, argmax, images, height, width, deterministic):
    return grad.new_empty(images, grad.shape[1], height, width)


def _setup_context(ctx, inputs, output):
    x, rois = inputs[:2]
    ctx.images, _, ctx.height, ctx.width = x.shape
    ctx.save_for_backward(rois, output[1])


def _backward(ctx, grad, _):
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x = kernels.roi_pool_backward(grad, *ctx.saved_tensors, ctx.images, ctx.height, ctx.width, deterministic)
    return grad_x, None, None, None, None


register_backward('roi_pool', _backward, _setup_context)


def roi_pool(x: Tensor, rois: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Tensor:
    """Take the largest feature in each of a grid of bins of each region (Fast R-CNN, arXiv 1504.08083).

    A bin covers every pixel it touches; the right and bottom pixel of a region belong to it.

    Args:
        x: (n, c, h, w) features.
        rois: (k, 5), image index in the batch and xyxy in pixels of the image. They carry no gradient.
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.

    Returns:
        (k, c, height, width), of the dtype of `x`; 0 for a bin outside the map.
        On CUDA the gradient of `x` is summed atomically, in any order, unless
        `torch.use_deterministic_algorithms(True)` is set.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
        RuntimeError: A region names an image that the batch does not have (CPU; on CUDA its features are 0).
    """
    height, width = _pair(output_size)
    check_regions('roi_pool', x, rois, height, width)
    rois = rois.detach().to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    return kernels.roi_pool(x, rois, height, width, float(spatial_scale))[0]


class RoIPool(nn.Module):
    """`roi_pool` as a module.

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
        return roi_pool(x, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f'output_size={self.output_size}, spatial_scale={self.spatial_scale}'
