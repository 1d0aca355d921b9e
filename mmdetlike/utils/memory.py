"""What to do when the memory of a GPU doesn't suffice."""

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


def _empty_cache() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def _on_cpu(value: object) -> object:
    return value.cpu() if isinstance(value, Tensor) else value
