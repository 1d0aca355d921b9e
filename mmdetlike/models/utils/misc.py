"""Sizes: of maps and of channels."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor


def interpolate_as(
    source: Tensor, target: Tensor | np.ndarray, mode: str = 'bilinear', align_corners: bool | None = False
) -> Tensor:
    """Resize a map to the size of another.

    Args:
        source: (N, C, H, W) or (N, H, W).
        target: (..., H', W').
        mode: As of ``F.interpolate``.
        align_corners: As of ``F.interpolate``; of no effect where ``mode`` has no corners to align.

    Returns:
        (N, C, H', W') or (N, H', W').

    Raises:
        ValueError: ``source`` has another number of dimensions.
    """
    if source.dim() not in (3, 4):
        raise ValueError(f'source must be (N, C, H, W) or (N, H, W), but got {tuple(source.shape)}.')
    if source.dim() == 3:
        return interpolate_as(source[:, None], target, mode, align_corners)[:, 0]
    align_corners = align_corners if mode in ('bilinear', 'bicubic') else None
    return F.interpolate(source, tuple(target.shape[-2:]), mode=mode, align_corners=align_corners)


def make_divisible(value: float, divisor: int, min_value: int | None = None, min_ratio: float = 0.9) -> int:
    """Round a number of channels to a multiple (MobileNetV2, arXiv 1801.04381).

    Args:
        value: Number of channels.
        divisor: What the result is a multiple of.
        min_value: Least result, by default ``divisor``.
        min_ratio: Least ratio of result to ``value``; where rounding down goes below, the next multiple is taken.
    """
    least = divisor if min_value is None else min_value
    rounded = max(least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < min_ratio * value else rounded
