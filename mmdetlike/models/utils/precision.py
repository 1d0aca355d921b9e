"""Precision: what must not be computed in float16 or bfloat16."""

import torch
from torch import Tensor


def float32_if_half(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors, float16 and bfloat16 ones as float32: areas and logarithms need its range."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)
