"""Convolution that is computed only where a mask is set."""

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_device, check_floating, check_shape, check_vector


def masked_conv2d(
    features: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: int | tuple[int, int] = 0,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve at those positions of the output where a mask is set (Guided Anchoring, arXiv 1901.03278).

    The cost grows with the number of positions: for each element of the filter, their pixels are gathered and
    multiplied with its weights.

    Args:
        features: (n, c, h, w).
        mask: (n, out_h, out_w), bool, or numbers of which those above 0 are set.
        weight: (out_c, c / groups, kh, kw) filters.
        bias: (out_c,).
        padding: Rows and columns of zeros around the features.
        stride: Step of the filter.
        dilation: Distance of its elements.
        groups: Parts into which channels are split.

    Returns:
        (n, out_c, out_h, out_w): the convolution where the mask is set, 0 elsewhere.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    padding = _pair(padding)
    stride = _pair(stride)
    dilation = _pair(dilation)
    _check_filters(features, weight, bias, groups)
    for name, pair, least in (('padding', padding, 0), ('stride', stride, 1), ('dilation', dilation, 1)):
        if min(pair) < least:
            raise ValueError(f'masked_conv2d: {name} is {pair}, numbers from {least} on are expected')
    _check_mask(mask, features, _output_size(features, weight, padding, stride, dilation))
    padded = nn.functional.pad(features, (padding[1], padding[1], padding[0], padding[0]))
    image, row, column = (mask > 0).nonzero(as_tuple=True)
    # the flat index of the pixel under the first element of the filter, for each position
    first = (image * padded.shape[2] + row * stride[0]) * padded.shape[3] + column * stride[1]
    values = _correlate(padded, first, weight.to(features.dtype), dilation, groups)
    if bias is not None:
        values = values + bias
    out = values.new_zeros(*mask.shape, weight.shape[0])
    return out.index_put((image, row, column), values).permute(0, 3, 1, 2).to(features.dtype)


def _correlate(padded: Tensor, first: Tensor, weight: Tensor, dilation: tuple[int, int], groups: int) -> Tensor:
    """The convolution (positions, out_c), at least float32, of patches that begin at the flat indices `first`."""
    channels = padded.shape[1]
    width = padded.shape[3]
    pixels = padded.permute(0, 2, 3, 1).reshape(-1, channels)
    filters = weight.unflatten(0, (groups, -1)).permute(3, 4, 0, 2, 1)
    sums = 0.0
    for y in range(weight.shape[2]):
        for x in range(weight.shape[3]):
            patch = pixels[first + (y * dilation[0] * width + x * dilation[1])].unflatten(1, (groups, -1))
            product = (patch.transpose(0, 1) @ filters[y, x]).transpose(0, 1).flatten(1)
            sums = sums + product.to(torch.promote_types(product.dtype, torch.float32))
    return sums


def _output_size(features: Tensor, weight: Tensor, padding, stride, dilation) -> tuple[int, int]:
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:])]
    return tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(features.shape[2:], padding, spans, stride))


def _check_filters(features: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    op = 'masked_conv2d'
    check_floating(op, 'features', features)
    check_shape(op, 'features', features, ('n', 'c', 'h', 'w'))
    check_floating(op, 'weight', weight)
    check_shape(op, 'weight', weight, ('out_c', 'c / groups', 'kh', 'kw'))
    check_device(op, 'weight', weight, features.device)
    if groups < 1 or features.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f'{op}: groups is {groups}, but features has {features.shape[1]} channels and weight has shape '
            f'{tuple(weight.shape)}: (out_c, c / groups, kh, kw) is expected'
        )
    if bias is not None:
        check_floating(op, 'bias', bias)
        check_vector(op, 'bias', bias, weight.shape[0])
        check_device(op, 'bias', bias, features.device)


def _check_mask(mask: Tensor, features: Tensor, size: tuple[int, int]) -> None:
    check_shape('masked_conv2d', 'mask', mask, (features.shape[0], *size))
    check_device('masked_conv2d', 'mask', mask, features.device)


class MaskedConv2d(nn.Conv2d):
    """A convolution that can be computed only where a mask is set; its arguments are those of `nn.Conv2d`."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolve `input` (n, c, h, w); with `mask` (n, out_h, out_w), where it is set, with 0 elsewhere."""
        if mask is None:
            return super().forward(input)
        if self.padding_mode != 'zeros' or isinstance(self.padding, str):
            raise ValueError(
                f'MaskedConv2d: padding is {self.padding!r} with padding_mode {self.padding_mode!r}, numbers and zeros '
                'are expected where there is a mask'
            )
        return masked_conv2d(input, mask, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
