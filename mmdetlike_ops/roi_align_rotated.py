"""RoIAlign of rotated regions."""

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_regions, check_sampling_ratio
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::roi_align_rotated')
def _fake_roi_align_rotated(x, rois, bins_y, bins_x, scale, sampling_ratio, aligned, clockwise):
    return x.new_empty(rois.shape[0], x.shape[1], bins_y, bins_x)


@torch.library.register_fake('mmdetlike_ops::roi_align_rotated_backward')
def _fake_roi_align_rotated_backward(
    grad, rois, images, height, width, scale, sampling_ratio, aligned, clockwise, deterministic
):
    return grad.new_empty(images, grad.shape[1], height, width)


def _setup_context(ctx, inputs, output):
    x, rois, _, _, *ctx.settings = inputs
    ctx.images, _, ctx.height, ctx.width = x.shape
    ctx.save_for_backward(rois)


def _backward(ctx, grad):
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x = kernels.roi_align_rotated_backward(
        grad, *ctx.saved_tensors, ctx.images, ctx.height, ctx.width, *ctx.settings, deterministic
    )
    return grad_x, *[None] * 7


register_backward('roi_align_rotated', _backward, _setup_context)


def roi_align_rotated(
    x: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
) -> Tensor:
    """Average each rotated region in a grid of bins by bilinear sampling (RRPN, arXiv 1703.01086).

    Args:
        x: (n, c, h, w) features.
        rois: (k, 6), image index in the batch, x and y of the center, width and height in pixels of the image, and
            angle in radians. They carry no gradient.
        output_size: Bins (height, width), along the sides of the region, or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 takes one per feature pixel: ceil(size of the bin).
        aligned: Pixel centers lie at half coordinates (shift by -0.5). Without it a region measures at least 1 x 1.
        clockwise: Positive angles turn the region clockwise, as seen in the image, else counter-clockwise.

    Returns:
        (k, c, height, width), of the dtype of `x`. Samples more than one pixel outside the map count as 0.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
        RuntimeError: A region names an image that the batch does not have (CPU; on CUDA its features are 0).
    """
    height, width = _pair(output_size)
    check_regions('roi_align_rotated', x, rois, height, width, columns=6)
    check_sampling_ratio('roi_align_rotated', sampling_ratio)
    rois = rois.detach().to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    return kernels.roi_align_rotated(
        x, rois, height, width, float(spatial_scale), int(sampling_ratio), bool(aligned), bool(clockwise)
    )


class RoIAlignRotated(nn.Module):
    """`roi_align_rotated` as a module.

    Args:
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 adapts to the size of the region.
        aligned: Pixel centers lie at half coordinates.
        clockwise: Positive angles turn the region clockwise.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int = 0,
        aligned: bool = True,
        clockwise: bool = False,
    ):
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.aligned = aligned
        self.clockwise = clockwise

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 6)."""
        return roi_align_rotated(
            x, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned, self.clockwise
        )

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
            f'sampling_ratio={self.sampling_ratio}, aligned={self.aligned}, clockwise={self.clockwise}'
        )
