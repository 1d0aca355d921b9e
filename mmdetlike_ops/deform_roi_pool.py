"""Deformable RoI pooling: RoIAlign whose bins move by learned offsets."""

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_device, check_floating, check_regions, check_sampling_ratio
from ._library import kernels, register_backward
from .roi_align import roi_align


@torch.library.register_fake('mmdetlike_ops::deform_roi_pool')
def _fake_deform_roi_pool(x, rois, offset, scale, sampling_ratio, gamma):
    return x.new_empty(rois.shape[0], x.shape[1], offset.shape[2], offset.shape[3])


@torch.library.register_fake('mmdetlike_ops::deform_roi_pool_backward')
def _fake_deform_roi_pool_backward(grad, x, rois, offset, scale, sampling_ratio, gamma, deterministic):
    return grad.new_empty(x.shape), offset.new_empty(offset.shape)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:3])
    ctx.settings = inputs[3:]


def _backward(ctx, grad):
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x, grad_offset = kernels.deform_roi_pool_backward(grad, *ctx.saved_tensors, *ctx.settings, deterministic)
    return grad_x, None, grad_offset, None, None, None


register_backward('deform_roi_pool', _backward, _setup_context)


def deform_roi_pool(
    x: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """Pool each region into bins that are moved by offsets (Deformable ConvNets v2, arXiv 1811.11168).

    A bin averages its bilinear samples as in `roi_align` (aligned), after it was moved by gamma * offset * size of the
    region.

    Args:
        x: (n, c, h, w) features.
        rois: (k, 5), image index in the batch and xyxy in pixels of the image. They carry no gradient.
        offset: (k, 2, height, width): how far a bin moves along x, then along y, in units of gamma times the size of
            the region. None moves no bin.
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 takes one per feature pixel: ceil(size of the bin).
        gamma: The unit of offsets.

    Returns:
        (k, c, height, width), of the dtype of `x`. Samples more than one pixel outside the map count as 0.
        On CUDA the gradient of `x` is summed atomically, in any order, unless
        `torch.use_deterministic_algorithms(True)` is set.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
        RuntimeError: A region names an image that the batch does not have (CPU; on CUDA its features are 0).
    """
    height, width = _pair(output_size)
    if offset is None:
        return roi_align(x, rois, (height, width), spatial_scale, sampling_ratio)
    check_regions('deform_roi_pool', x, rois, height, width)
    check_sampling_ratio('deform_roi_pool', sampling_ratio)
    _check_offset(offset, (rois.shape[0], 2, height, width), x.device)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return kernels.deform_roi_pool(
        x, rois.detach().to(dtype), offset.to(dtype), float(spatial_scale), int(sampling_ratio), float(gamma)
    )


def _check_offset(offset: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    check_floating('deform_roi_pool', 'offset', offset)
    if offset.shape != shape:
        raise ValueError(f'deform_roi_pool: offset has shape {tuple(offset.shape)}, {shape} is expected')
    check_device('deform_roi_pool', 'offset', offset, device)


class DeformRoIPool(nn.Module):
    """`deform_roi_pool` as a module.

    Args:
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 adapts to the size of the region.
        gamma: The unit of offsets, in sizes of the region.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ):
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.gamma = float(gamma)

    def pool(self, x: Tensor, rois: Tensor, offset: Tensor | None) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 5), their bins moved by `offset` (k, 2, height, width)."""
        return deform_roi_pool(x, rois, offset, self.output_size, self.spatial_scale, self.sampling_ratio, self.gamma)

    def forward(self, x: Tensor, rois: Tensor, offset: Tensor | None = None) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 5); `offset` as in `deform_roi_pool`."""
        return self.pool(x, rois, offset)

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
            f'sampling_ratio={self.sampling_ratio}, gamma={self.gamma}'
        )


class ModulatedDeformRoIPool(DeformRoIPool):
    """Deformable RoI pooling with a given factor for every bin (Deformable ConvNets v2, arXiv 1811.11168).

    The arguments are those of `DeformRoIPool`.
    """

    def forward(self, x: Tensor, rois: Tensor, offset: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 5), times `mask` (k, 1, height, width); None stands for 1.

        Raises:
            ValueError: `mask` has another shape.
        """
        pooled = self.pool(x, rois, offset)
        if mask is None:
            return pooled
        wanted = (len(rois), 1, *self.output_size)
        if tuple(mask.shape) != wanted:
            raise ValueError(f'ModulatedDeformRoIPool: mask has shape {tuple(mask.shape)}, {wanted} is expected')
        return pooled * mask


class DeformRoIPoolPack(DeformRoIPool):
    """Deformable RoI pooling that computes its offsets from the features of the unmoved bins.

    The last layer of `offset_fc` starts at 0, so that before training no bin moves.

    Args:
        output_size: Bins (height, width), or one number for both.
        output_channels: Channels of the features.
        deform_fc_channels: Width of the hidden layers.
        spatial_scale: Pixels of the features per pixel of the image.
        sampling_ratio: Samples of a bin along each axis; 0 adapts to the size of the region.
        gamma: The unit of offsets, in sizes of the region.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ):
        super().__init__(output_size, spatial_scale, sampling_ratio, gamma)
        self.output_channels = output_channels
        self.deform_fc_channels = deform_fc_channels
        bins = self.output_size[0] * self.output_size[1]
        self.offset_fc = nn.Sequential(
            nn.Linear(bins * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, bins * 2),
        )
        _start_at_zero(self.offset_fc[-1])

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Features (k, output_channels, height, width) of `rois` (k, 5)."""
        return self.pool(x, rois, self.offsets(self.unmoved(x, rois)))

    def unmoved(self, x: Tensor, rois: Tensor) -> Tensor:
        """Features (k, output_channels * height * width) of the bins where they are, from which offsets follow.

        Raises:
            ValueError: `x` has another number of channels than `output_channels`.
        """
        if x.dim() == 4 and x.shape[1] != self.output_channels:
            name = type(self).__name__
            channels = x.shape[1]
            raise ValueError(f'{name}: x has {channels} channels, output_channels {self.output_channels} is expected')
        return self.pool(x, rois, None).flatten(1)

    def offsets(self, features: Tensor) -> Tensor:
        """Offsets (k, 2, height, width) from `unmoved` features."""
        return self.offset_fc(features).view(-1, 2, *self.output_size)


class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """Deformable RoI pooling that computes offsets, and a factor from 0 to 1 for every bin.

    The last linear layers of `offset_fc` and `mask_fc` start at 0: before training, nothing moves and every factor is
    0.5. The arguments are those of `DeformRoIPoolPack`.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ):
        super().__init__(output_size, output_channels, deform_fc_channels, spatial_scale, sampling_ratio, gamma)
        bins = self.output_size[0] * self.output_size[1]
        self.mask_fc = nn.Sequential(
            nn.Linear(bins * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, bins),
            nn.Sigmoid(),
        )
        _start_at_zero(self.mask_fc[-2])

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Features (k, output_channels, height, width) of `rois` (k, 5)."""
        unmoved = self.unmoved(x, rois)
        mask = self.mask_fc(unmoved).view(-1, 1, *self.output_size)
        return self.pool(x, rois, self.offsets(unmoved)) * mask


def _start_at_zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
