"""Checks of arguments: each raises one sentence that names the argument, what was given and what is expected."""

import torch
from torch import Tensor

from ._library import COMPILED_FOR_CUDA

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
MOST_PIXELS = 2**31 - 1  # kernels count the pixels of a plane in int32
MOST_SAMPLES = 4096  # what adaptive sampling takes at most, as kMaxSamples in csrc/common/roi.h


def check_float(op: str, name: str, x: Tensor) -> None:
    """Raise unless `x` is a tensor of a supported floating dtype."""
    _check_tensor(op, name, x)
    if x.dtype not in FLOATING:
        raise TypeError(f'{op}: {name} has dtype {x.dtype}, a floating dtype is expected')


def check_floating(op: str, name: str, x: Tensor) -> None:
    """Raise unless `x` is a tensor of a supported floating dtype, on a device that the kernels were compiled for."""
    check_float(op, name, x)
    if x.is_cuda and not COMPILED_FOR_CUDA:
        raise RuntimeError(
            f'{op}: {name} is on {x.device}, but the kernels were compiled without CUDA; compile them again where nvcc '
            'is installed: `MMDETLIKE_OPS_CUDA=1 pip install -e .`'
        )


def check_shape(op: str, name: str, x: Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise unless `x` is a tensor of `shape`, where a letter stands for any number."""
    _check_tensor(op, name, x)
    sizes = zip(x.shape, shape)
    if x.dim() != len(shape) or any(size != wanted for size, wanted in sizes if not isinstance(wanted, str)):
        expected = ', '.join(map(str, shape)) + (',' if len(shape) == 1 else '')
        raise ValueError(f'{op}: {name} has shape {tuple(x.shape)}, ({expected}) is expected')


def _check_tensor(op: str, name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f'{op}: {name} is a {type(x).__name__}, a tensor is expected')


def check_table(op: str, name: str, x: Tensor, columns: int) -> None:
    """Raise unless `x` is a floating tensor of shape (n, columns)."""
    check_floating(op, name, x)
    check_shape(op, name, x, ('n', columns))


def check_vector(op: str, name: str, x: Tensor, length: int) -> None:
    """Raise unless `x` is a tensor of shape (length,)."""
    check_shape(op, name, x, (length,))


def check_device(op: str, name: str, x: Tensor, device: torch.device) -> None:
    """Raise unless `x` is on `device`."""
    if x.device != device:
        raise ValueError(f'{op}: {name} is on {x.device}, the other tensors are on {device}')


def check_range(op: str, name: str, value: float, low: float, high: float) -> None:
    """Raise unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f'{op}: {name} is {value}, a number from {low} to {high} is expected')


def check_choice(op: str, name: str, value: object, choices: tuple) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f'{op}: {name} is {value!r}, one of {choices} is expected')


def check_scored_boxes(op: str, boxes: Tensor, scores: Tensor, columns: int = 4) -> None:
    """Raise unless `boxes` is (n, columns) and `scores` (n,), both floating and on one device."""
    check_table(op, 'boxes', boxes, columns)
    check_floating(op, 'scores', scores)
    check_vector(op, 'scores', scores, boxes.shape[0])
    check_device(op, 'scores', scores, boxes.device)


def check_plane(op: str, name: str, x: Tensor) -> None:
    """Raise unless the last two axes of `x`, rows and columns, have few enough elements to be counted in 32 bits.

    Kernels count the pixels of one plane so, and everything beyond in 64 bits.
    """
    if x.shape[-2] * x.shape[-1] > MOST_PIXELS:
        raise ValueError(f'{op}: {name} has shape {tuple(x.shape)}, at most {MOST_PIXELS} pixels a plane are expected')


def check_sampling_ratio(op: str, ratio: int) -> None:
    """Raise unless `ratio` is a number of samples along an axis of a bin that a kernel can count."""
    if ratio > MOST_SAMPLES:
        raise ValueError(f'{op}: sampling_ratio is {ratio}, at most {MOST_SAMPLES} is expected')


def check_regions(op: str, x: Tensor, rois: Tensor, height: int, width: int, columns: int = 5) -> None:
    """Raise unless `x` is (n, c, h, w), `rois` (k, columns) on the same device, and the output has a positive size."""
    check_floating(op, 'x', x)
    check_shape(op, 'x', x, ('n', 'c', 'h', 'w'))
    if x.shape[2] == 0 or x.shape[3] == 0:
        raise ValueError(f'{op}: x has shape {tuple(x.shape)}, at least one pixel is expected')
    check_plane(op, 'x', x)
    check_table(op, 'rois', rois, columns)
    check_device(op, 'rois', rois, x.device)
    if height < 1 or width < 1:
        raise ValueError(f'{op}: output_size is ({height}, {width}), two positive numbers are expected')
    if height * width > MOST_PIXELS:
        raise ValueError(f'{op}: output_size is ({height}, {width}), at most {MOST_PIXELS} bins are expected')
