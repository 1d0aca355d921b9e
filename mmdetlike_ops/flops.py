"""Floating point operations of our operators, for `torch.utils.flop_counter`.

Importing this registers them, so that torch's own `FlopCounterMode` counts them, too. As torch does, a multiply-add
counts as two. A bilinear sample of one channel is four multiply-adds. Operators that only compare or move values
(suppression, max pooling, masks of PSANet) count nothing, as pooling does in torch.
"""

import math

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula, sdpa_flop_count

from ._library import kernels

PER_MULTIPLY_ADD = 2
BILINEAR = 4 * PER_MULTIPLY_ADD


@register_flop_formula(kernels.deform_conv2d)
def deform_conv2d_flops(x, offset, mask, weight, *settings, out_shape, **_) -> int:
    """Of the samples, which are made once for all output channels, and of the convolution of them."""
    batch, out_channels, height, width = out_shape
    in_channels, *kernel = weight[1:]
    pixels = batch * height * width
    samples = pixels * x[1] * math.prod(kernel)
    modulation = 0 if mask is None else samples
    return samples * BILINEAR + modulation + PER_MULTIPLY_ADD * pixels * out_channels * in_channels * math.prod(kernel)


@register_flop_formula(kernels.ms_deform_attn)
def ms_deform_attn_flops(value, shapes, starts, locations, attention, **_) -> int:
    """Of bilinear samples, each with a weight: ``attention`` (b, q, h, l, p) of ``value`` (b, s, h, c)."""
    return math.prod(attention) * value[-1] * (BILINEAR + PER_MULTIPLY_ADD)


@register_flop_formula(kernels.roi_align, get_raw=True)
def roi_align_flops(x, rois, bins_y, bins_x, scale, sampling_ratio, use_max, aligned, out_val=None, **_) -> int:
    """Of the samples, whose number depends on the regions unless ``sampling_ratio`` gives it."""
    sizes = (rois[:, 3:5] - rois[:, 1:3]) * scale
    sizes = sizes if aligned else sizes.clamp(min=1)
    return x.shape[1] * _samples(sizes, bins_y, bins_x, sampling_ratio) * BILINEAR


@register_flop_formula(kernels.roi_align_rotated, get_raw=True)
def roi_align_rotated_flops(x, rois, bins_y, bins_x, scale, sampling_ratio, aligned, clockwise, **_) -> int:
    """Of the samples, as `roi_align_flops`; regions (k, 6) are image, center, width, height and angle."""
    sizes = rois[:, 3:5] * scale
    sizes = sizes if aligned else sizes.clamp(min=1)
    return x.shape[1] * _samples(sizes, bins_y, bins_x, sampling_ratio) * BILINEAR


@register_flop_formula(kernels.deform_roi_pool, get_raw=True)
def deform_roi_pool_flops(x, rois, offset, scale, sampling_ratio, gamma, **_) -> int:
    """Of the samples; a bin has an offset (k, 2, height, width)."""
    sizes = (rois[:, 3:5] - rois[:, 1:3]) * scale
    return x.shape[1] * _samples(sizes, *offset.shape[2:], sampling_ratio) * BILINEAR


@register_flop_formula(kernels.carafe)
def carafe_flops(features, masks, kernel, groups, scale, out_shape, **_) -> int:
    """Of the weighted sums over ``kernel`` x ``kernel`` neighbors."""
    return math.prod(out_shape) * kernel**2 * PER_MULTIPLY_ADD


@register_flop_formula(kernels.border_align)
def border_align_flops(x, boxes, pool_size, out_shape, **_) -> int:
    """Of ``pool_size`` + 1 bilinear samples along each border."""
    return math.prod(out_shape[0]) * (pool_size + 1) * BILINEAR


@register_flop_formula(kernels.rotated_feature_align)
def rotated_feature_align_flops(x, boxes, scale, points, out_shape, **_) -> int:
    """Of a bilinear sample at each of ``points``."""
    return math.prod(out_shape) * points * BILINEAR


def cpu_attention_flops(query, key, value, *args, **_) -> int:
    """Of torch's attention on a CPU, which torch 2.13 counts on GPUs only."""
    return sdpa_flop_count(query, key, value)


def grid_sample_flops(x, grid, *args, out_shape, **_) -> int:
    """Of bilinear samples; other modes count the same."""
    return math.prod(out_shape) * BILINEAR


# torch refuses a second formula for an operator, and later versions may have these
for _operator, _formula in (
    (torch.ops.aten._scaled_dot_product_flash_attention_for_cpu, cpu_attention_flops),
    (torch.ops.aten.grid_sampler_2d, grid_sample_flops),
):
    if _operator not in flop_registry:
        register_flop_formula(_operator)(_formula)


def _samples(sizes: Tensor, bins_y: int, bins_x: int, sampling_ratio: int) -> int:
    """Samples of one channel in regions whose width and height (k, 2) are ``sizes`` in pixels of the features."""
    if sampling_ratio > 0:
        return len(sizes) * bins_y * bins_x * sampling_ratio**2
    bins = sizes.new_tensor([bins_x, bins_y])
    of_a_bin = (sizes / bins).ceil().clamp(min=0).double()
    return int(of_a_bin.prod(1).sum()) * bins_y * bins_x
