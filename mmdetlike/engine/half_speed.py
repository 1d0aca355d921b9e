"""Whether a CPU trains in bfloat16 at all faster than in float32."""

import functools
import os
import time

import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError

_SHAPE = (2, 64, 40, 52)
_REPEATS = 3
_NOISE = 1.1  # of two measurements


@functools.cache
def half_training_ratio() -> float:
    """Time of a convolution with its backward pass in bfloat16, by that in float32, on this CPU; takes 0.1 s.

    It is measured, not read from the capabilities of the CPU: without instructions for bfloat16 it is 3 to 10 by the
    vectors that there are, and a CPU that has them may lack those for the backward pass.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # then the time of this thread is all of it, however busy the machine
    try:
        return _convolution_time(torch.bfloat16) / _convolution_time(torch.float32)
    finally:
        torch.set_num_threads(threads)


def check_half_training() -> None:
    """Find out whether mixed precision makes training on this CPU faster.

    Raises:
        ConfigError: It would make it slower.
    """
    ratio = half_training_ratio()
    if ratio > _NOISE:
        raise ConfigError(f'--amp would make training on this CPU slower, not faster: {_told(ratio)}; leave --amp out')


def warning_of_half_training() -> str | None:
    """What to tell of a config that asks for mixed precision where it makes training on this CPU slower."""
    ratio = half_training_ratio()
    return f'AmpOptimWrapper makes training on this CPU slower: {_told(ratio)}' if ratio > _NOISE else None


def _told(ratio: float) -> str:
    limit = os.environ.get('ONEDNN_MAX_CPU_ISA')
    reason = f'ONEDNN_MAX_CPU_ISA={limit}' if limit else 'it lacks fast instructions for it'
    return f'a convolution and its gradients take {ratio:.1f} times as long in bfloat16 as in float32 ({reason})'


@torch.enable_grad()
def _convolution_time(dtype: torch.dtype) -> float:
    """The least seconds of CPU time of some."""
    generator = torch.Generator().manual_seed(0)  # leaves the random numbers of the training alone
    images = torch.randn(_SHAPE, generator=generator).to(dtype, memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(_SHAPE[1], _SHAPE[1], 3, 3, generator=generator).to(dtype).requires_grad_()
    times = []
    for _ in range(_REPEATS + 1):  # the first one prepares kernels
        start = time.thread_time()
        F.conv2d(images, weight, padding=1).sum().backward()
        times.append(time.thread_time() - start)
    return min(times[1:])
