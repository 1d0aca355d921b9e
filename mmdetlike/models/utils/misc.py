"""Maps: resizing, neighboring pixels, and padding of batches; and rounding of channel numbers."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.structures import DetDataSample, SampleList


def interpolate_as(
    source: Tensor, target: Tensor | np.ndarray, mode: str = 'bilinear', align_corners: bool | None = False
) -> Tensor:
    """Resize a map to the height and width of another.

    Args:
        source: (N, C, H, W) or (N, H, W); a ``ValueError`` if it has another number of dimensions.
        target: (..., H', W').
        mode, align_corners: As of ``F.interpolate``; the latter has no effect where there are no corners to align.
    """
    if source.dim() not in (3, 4):
        raise ValueError(f'source must be (N, C, H, W) or (N, H, W), but got {tuple(source.shape)}.')
    if source.dim() == 3:
        return interpolate_as(source[:, None], target, mode, align_corners)[:, 0]
    align_corners = align_corners if mode in ('bilinear', 'bicubic') else None
    return F.interpolate(source, tuple(target.shape[-2:]), mode=mode, align_corners=align_corners)


def to_image_size(maps: Tensor, sample: DetDataSample, rescale: bool) -> Tensor:
    """Stretch maps (n, h, w) of a padded image to its pixels and cut them to the image, (n, H, W).

    ``sample`` has ``batch_input_shape``, ``img_shape`` and, to ``rescale`` to the original image, ``ori_shape``.
    """
    height, width = sample.img_shape[:2]
    maps = _stretch(maps, sample.batch_input_shape)[:, :height, :width]
    return _stretch(maps, sample.ori_shape[:2]) if rescale else maps


def _stretch(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == tuple(size) or not len(maps):
        return maps.reshape(len(maps), *size)
    # as channels of one image: a single channel would be copied to and from channels-last memory
    return F.interpolate(maps[None], size=tuple(size), mode='bilinear', align_corners=False)[0]


def neighbors(maps: Tensor, kernel_size: int = 3, dilation: int = 1) -> Tensor:
    """The pixels around each pixel of maps (n, c, h, w), without itself: (n, c, kernel_size ** 2 - 1, h, w).

    They lie ``dilation`` pixels apart; beyond the border of the map there are zeros.
    """
    padding = dilation * (kernel_size - 1) // 2
    around = F.unfold(maps, kernel_size, padding=padding, dilation=dilation)
    around = around.view(*maps.shape[:2], kernel_size**2, *maps.shape[2:])
    middle = kernel_size**2 // 2
    return torch.cat([around[:, :, :middle], around[:, :, middle + 1 :]], dim=2)


def padding_of(samples: SampleList, device: torch.device) -> Tensor | None:
    """(B, H, W) True where images of a batch have padding; None where none has."""
    return padding_masks([sample.img_shape for sample in samples], samples[0].batch_input_shape, device)


def padding_masks(img_shapes: Sequence[tuple[int, int]], batch_shape: tuple[int, int], device) -> Tensor | None:
    """(B, H, W) True where a batch of images has padding; None where no image has any."""
    # None spares attention a mask, with which the fastest kernels can't run
    if all(tuple(shape[:2]) == tuple(batch_shape) for shape in img_shapes):
        return None
    masks = torch.ones(len(img_shapes), *batch_shape, dtype=torch.bool, device=device)
    for mask, (height, width, *_) in zip(masks, img_shapes):
        mask[:height, :width] = False
    return masks


def make_divisible(value: float, divisor: int, min_value: int | None = None, min_ratio: float = 0.9) -> int:
    """Round a number of channels to a multiple of ``divisor``.

    Args:
        value: Number of channels, not necessarily whole.
        divisor: What the result is a multiple of.
        min_value: Smallest result; ``divisor`` where None.
        min_ratio: The result is at least this share of ``value``.

    Examples:
        >>> make_divisible(38.4, 8), make_divisible(17, 8), make_divisible(3, 8)
        (40, 16, 8)
        >>> make_divisible(11, 8)
        16
    """
    rounded = max(divisor if min_value is None else min_value, int(value + divisor / 2) // divisor * divisor)
    # rounding down must not take more than a tenth of the channels (MobileNets' reference code)
    return rounded + divisor if rounded < min_ratio * value else rounded
