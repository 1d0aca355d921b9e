"""Heights and widths as tensors, also those that a graph learns only when it runs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def size_tensor(sizes: Sequence | Tensor, **settings: Any) -> Tensor:
    """Sizes, or nested sequences of them, as ``torch.as_tensor`` has them.

    ``torch.as_tensor`` reads the values of numbers, and so makes constants of those that ``torch.export`` keeps open.

    Args:
        sizes: Whole numbers.
        settings: ``dtype`` and ``device``.
    """
    if not _has_open_sizes(sizes):
        return torch.as_tensor(sizes, **settings)
    if isinstance(sizes, torch.SymInt):
        return torch.full((), sizes, **{'dtype': torch.int64, **settings})
    return torch.stack([size_tensor(size, **settings) for size in sizes])


def _has_open_sizes(sizes: Any) -> bool:
    if isinstance(sizes, (list, tuple)):
        return any(map(_has_open_sizes, sizes))
    return isinstance(sizes, torch.SymInt)
