"""RoIAlign: features of regions by bilinear sampling."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_choice, check_regions, check_sampling_ratio, check_table
from ._library import kernels, register_backward

_MODES = ('avg', 'max')


@torch.library.register_fake('mmdetlike_ops::roi_align')
def _fake_roi_align(x, rois, bins_y, bins_x, scale, sampling_ratio, max, aligned):
    out = x.new_empty(rois.shape[0], x.shape[1], bins_y, bins_x)
    return out, x.new_empty(rois.shape[0] if max else 0, x.shape[1], bins_y, bins_x, dtype=torch.int32)


@torch.library.register_fake('mmdetlike_ops::roi_align_backward')
def _fake_roi_align_backward(
    grad, rois, argmax, images, height, width, scale, sampling_ratio, max, aligned, deterministic
):
    return grad.new_empty(images, grad.shape[1], height, width)


def _setup_context(ctx, inputs, output):
    x, rois, _, _, *ctx.settings = inputs
    ctx.images, _, ctx.height, ctx.width = x.shape
    ctx.save_for_backward(rois, output[1])


def _backward(ctx, grad, _):
    rois, argmax = ctx.saved_tensors
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x = kernels.roi_align_backward(
        grad, rois, argmax, ctx.images, ctx.height, ctx.width, *ctx.settings, deterministic
    )
    return grad_x, *[None] * 7


register_backward('roi_align', _backward, _setup_context)


def roi_align(
    x: Tensor,
    rois: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """Pool each region into a grid of bins by bilinear sampling (Mask R-CNN, arXiv 1703.06870).

    Args:
        x: (n, c, h, w) features.
        rois: (k, 5), image index in the batch and xyxy in pixels of the image; or a list with the boxes (k_i, 4) of
            each image. They carry no gradient.
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 or less takes one per feature pixel: ceil(size of the bin).
        pool_mode: 'avg' or 'max' of the samples of a bin.
        aligned: Pixel centers lie at half coordinates (shift by -0.5). Without it a region measures at least 1 x 1.

    Returns:
        (k, c, height, width), of the dtype of `x`. Samples more than one pixel outside the map count as 0.
        On CUDA the gradient of `x` is summed atomically, in any order, unless
        `torch.use_deterministic_algorithms(True)` is set.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
        RuntimeError: A region names an image that the batch does not have (CPU; on CUDA its features are 0).
    """
    height, width = _pair(output_size)
    if isinstance(rois, (list, tuple)) and all(isinstance(boxes, Tensor) for boxes in rois):
        rois = _with_image_indices(x, rois)
    check_regions('roi_align', x, rois, height, width)
    check_sampling_ratio('roi_align', sampling_ratio)
    check_choice('roi_align', 'pool_mode', pool_mode, _MODES)
    rois = rois.detach().to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    return kernels.roi_align(
        x, rois, height, width, float(spatial_scale), int(sampling_ratio), pool_mode == 'max', bool(aligned)
    )[0]


def _with_image_indices(x: Tensor, boxes_of_images: Sequence[Tensor]) -> Tensor:
    """Regions (k, 5) of a list with the boxes (k_i, 4) of each image of the batch `x`."""
    if len(boxes_of_images) != len(x):
        raise ValueError(f'roi_align: rois has boxes of {len(boxes_of_images)} images, x has {len(x)} images')
    for index, boxes in enumerate(boxes_of_images):
        check_table('roi_align', f'rois[{index}]', boxes, 4)
    indexed = [F.pad(boxes, (1, 0), value=index) for index, boxes in enumerate(boxes_of_images)]
    return torch.cat(indexed) if indexed else x.new_zeros(0, 5)


class RoIAlign(nn.Module):
    """`roi_align` as a module.

    Args:
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 adapts to the size of the region.
        pool_mode: 'avg' or 'max'.
        aligned: Pixel centers lie at half coordinates.
        use_torchvision: Accepted for configs that set it; the result is the same, so the kernel here is used.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ):
        super().__init__()
        check_choice('RoIAlign', 'pool_mode', pool_mode, _MODES)
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.pool_mode = pool_mode
        self.aligned = aligned
        self.use_torchvision = use_torchvision

    def forward(self, x: Tensor, rois: Tensor | Sequence[Tensor]) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 5), or of a list with the boxes (k_i, 4) of each image."""
        return roi_align(
            x, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.pool_mode, self.aligned
        )

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
            f'sampling_ratio={self.sampling_ratio}, pool_mode={self.pool_mode!r}, aligned={self.aligned}'
        )
