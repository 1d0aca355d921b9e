"""What to do when the memory of a GPU doesn't suffice, and how a CPU gets the memory of large tensors faster."""

import ctypes
import functools
import gc
import warnings
from collections.abc import Callable

import torch
from torch import Tensor


def retry_if_cuda_oom(func: Callable) -> Callable:
    """Let a function that runs out of the GPU's memory try again: with the cache emptied, then on the CPU.

    For the CPU, tensors among the direct arguments are moved, not those within lists or objects; the result may then be
    on the CPU. The function must not keep a state, as it may be called three times.

    Args:
        func: A function of tensors.

    Returns:
        A function of the same arguments.
    """

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        for prepare in (None, _empty_cache):
            if prepare is not None:
                prepare()
            try:
                return func(*args, **kwargs)
            except torch.OutOfMemoryError:
                pass
        name = getattr(func, '__qualname__', repr(func))
        warnings.warn(f'{name} runs on the CPU: the GPU has not enough memory for it.', stacklevel=2)
        moved = {key: _on_cpu(value) for key, value in kwargs.items()}
        return func(*map(_on_cpu, args), **moved)

    return wrapped


# of glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory of large tensors on the CPU that are freed, for those that come next.

    By default the C library gives blocks above 32 MiB back to the system at once, and a feature map of a large image is
    such a block: each layer then waits for fresh pages, which the system clears, a sixth of the time of a ResNet-50.
    The price is that the process stays as large as it once was.

    Returns:
        Whether the C library can do that; glibc can, but for old versions.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # other systems, other C libraries
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_INT) and mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT))


def _empty_cache() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def _on_cpu(value: object) -> object:
    return value.cpu() if isinstance(value, Tensor) else value
