"""Deformable convolution, with and without modulation, as functions."""

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from ._checks import check_device, check_floating, check_plane
from ._library import kernels, register_backward

USUAL_STEP = 32  # images unfolded at a time unless an im2col_step is given; the last ones may be fewer
ALL_IMAGES = 2**31 - 1  # an im2col_step that leaves the number of images unfolded at a time to the kernel


def _layout(x):
    """The memory layout of `x`; one channel fits both, for which the kernels take the contiguous one."""
    return torch.channels_last if x.shape[1] > 1 and x.stride(1) == 1 else torch.contiguous_format


@torch.library.register_fake('mmdetlike_ops::deform_conv2d')
def _fake_deform_conv2d(x, offset, mask, weight, bias, *settings):
    size = (x.shape[0], weight.shape[0], *offset.shape[2:])
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=_layout(x))


@torch.library.register_fake('mmdetlike_ops::deform_conv2d_backward')
def _fake_deform_conv2d_backward(grad, x, offset, mask, weight, *settings):
    return (
        torch.empty_like(x, memory_format=_layout(x)),
        torch.empty_like(offset, memory_format=torch.contiguous_format),
        x.new_empty(0) if mask is None else torch.empty_like(mask, memory_format=torch.contiguous_format),
        torch.empty_like(weight, memory_format=torch.channels_last),
    )


def _setup_context(ctx, inputs, output):
    x, offset, mask, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(x, offset, mask, weight)


def _backward(ctx, grad):
    x, offset, mask, weight = ctx.saved_tensors
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x, grad_offset, grad_mask, grad_weight = kernels.deform_conv2d_backward(
        grad, x, offset, mask, weight, *ctx.settings, deterministic
    )
    grad_bias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[4] else None
    return grad_x, grad_offset, None if mask is None else grad_mask, grad_weight, grad_bias, *[None] * 6


register_backward('deform_conv2d', _backward, _setup_context)


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int | None = None,
) -> Tensor:
    """Deformable convolution: each tap reads where its offset points, by bilinear interpolation (arXiv 1703.06211).

    Args:
        x: (b, c, h, w) features. Outside the map they count as 0.
        offset: (b, deform_groups * kh * kw * 2, h_out, w_out), in pixels of `x`: for each tap, row by row, y then x.
        weight: (c_out, c / groups, kh, kw); brought to the dtype of `x`.
        stride: Pixels of `x` from one output to the next.
        padding: Pixels by which the first output's taps start before the map.
        dilation: Pixels between taps.
        groups: Groups of channels that are convolved separately.
        deform_groups: Groups of channels with offsets of their own.
        bias: Must be False: this operator has none.
        im2col_step: At most this many images are unfolded at a time; divides the number of images unless it is larger.
            None for 32 whatever their number.

    Returns:
        (b, c_out, h_out, w_out), of the dtype and the memory layout of `x`.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_no_bias('deform_conv2d', bias)
    settings = _settings('deform_conv2d', stride, padding, dilation, groups, deform_groups)
    _check('deform_conv2d', x, offset, None, weight, None, settings)
    step = USUAL_STEP if im2col_step is None else im2col_step
    if im2col_step is not None and (step < 1 or (x.shape[0] > step and x.shape[0] % step)):
        raise ValueError(
            f'deform_conv2d: im2col_step is {step}, a positive number that divides the batch of {x.shape[0]} images or '
            'exceeds it is expected; without one, any batch is taken'
        )
    return kernels.deform_conv2d(x, offset, None, weight.to(x.dtype), None, *settings, step)


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Deformable ConvNets v2 (arXiv 1811.11168): a deformable convolution whose samples are weighted by `mask`.

    Args:
        x: (b, c, h, w) features. Outside the map they count as 0.
        offset: (b, deform_groups * kh * kw * 2, h_out, w_out), in pixels of `x`: for each tap, row by row, y then x.
        mask: (b, deform_groups * kh * kw, h_out, w_out) factors of the samples.
        weight: (c_out, c / groups, kh, kw); brought to the dtype of `x`.
        bias: (c_out,), or None.
        stride: Pixels of `x` from one output to the next.
        padding: Pixels by which the first output's taps start before the map.
        dilation: Pixels between taps.
        groups: Groups of channels that are convolved separately.
        deform_groups: Groups of channels with offsets and masks of their own.

    Returns:
        (b, c_out, h_out, w_out), of the dtype and the memory layout of `x`.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    op = 'modulated_deform_conv2d'
    settings = _settings(op, stride, padding, dilation, groups, deform_groups)
    _check(op, x, offset, mask, weight, bias, settings)
    bias = None if bias is None else bias.to(x.dtype)
    return kernels.deform_conv2d(x, offset, mask, weight.to(x.dtype), bias, *settings, ALL_IMAGES)


def check_no_bias(op: str, bias: bool) -> None:
    """Raise unless `bias` is False."""
    if bias is not False:
        raise ValueError(f'{op}: bias is {bias!r}, only False is possible; ModulatedDeformConv2d has a bias')


def _settings(op, stride, padding, dilation, groups, deform_groups):
    pairs = {'stride': (stride, 1), 'padding': (padding, 0), 'dilation': (dilation, 1)}
    for name, (value, least) in pairs.items():
        if len(_pair(value)) != 2 or min(_pair(value)) < least:
            raise ValueError(f'{op}: {name} is {value}, one or two numbers from {least} on are expected')
    return *(list(_pair(value)) for value, _ in pairs.values()), groups, deform_groups


def _check(op, x, offset, mask, weight, bias, settings):
    stride, padding, dilation, groups, deform_groups = settings
    tensors = {'x': x, 'offset': offset, 'weight': weight}
    tensors |= {name: tensor for name, tensor in (('mask', mask), ('bias', bias)) if tensor is not None}
    for name, tensor in tensors.items():
        check_floating(op, name, tensor)
        check_device(op, name, tensor, x.device)
        if tensor.dim() != (1 if name == 'bias' else 4):
            wanted = {'weight': '(c_out, c / groups, kh, kw)', 'bias': '(c_out,)'}.get(name, '(b, c, h, w)')
            raise ValueError(f'{op}: {name} has shape {tuple(tensor.shape)}, {wanted} is expected')
    check_plane(op, 'x', x)
    _check_channels(op, x, weight, groups, deform_groups)
    size = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in (0, 1)
    ]
    if min(size) < 1:
        raise ValueError(
            f'{op}: x of {tuple(x.shape[2:])} pixels with padding {tuple(padding)} is smaller than the kernel of '
            f'{tuple(weight.shape[2:])} taps with dilation {tuple(dilation)}'
        )
    taps = weight.shape[2] * weight.shape[3] * deform_groups
    _check_shape(op, 'offset', offset, (x.shape[0], 2 * taps, *size))
    if mask is not None:
        _check_shape(op, 'mask', mask, (x.shape[0], taps, *size))
    if bias is not None:
        _check_shape(op, 'bias', bias, (weight.shape[0],))


def _check_channels(op, x, weight, groups, deform_groups):
    for name, value, count in (('groups', groups, x.shape[1]), ('deform_groups', deform_groups, x.shape[1]),
                               ('groups', groups, weight.shape[0])):  # fmt: skip
        if value < 1 or count < 1 or count % value:
            raise ValueError(f'{op}: {name} is {value}, a divisor of {count} channels is expected')
    if weight.shape[1] * groups != x.shape[1]:
        raise ValueError(
            f'{op}: weight has shape {tuple(weight.shape)}, its second number times {groups} groups should be the '
            f'{x.shape[1]} channels of x'
        )


def _check_shape(op, name, tensor, shape):
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f'{op}: {name} has shape {tuple(tensor.shape)}, {tuple(shape)} is expected')
