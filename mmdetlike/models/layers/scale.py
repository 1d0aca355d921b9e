"""Learnable factors: of all that is put in, and of each channel."""

import torch
from torch import Tensor, nn

from mmdetlike.registry import MODELS


@MODELS.register_module()
class Scale(nn.Module):
    """Multiply by a learnable scalar.

    Args:
        scale: Initial value.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x * scale``, of the shape of ``x``."""
        return x * self.scale


class L2Norm(nn.Module):
    """Scale each pixel's feature vector to length 1, then each of ``n_dims`` channels by a learnable factor.

    ParseNet, arXiv 1506.04579, as used in SSD, arXiv 1512.02325. ``scale`` is the initial factor, ``eps`` is added to
    the length.
    """

    def __init__(self, n_dims: int, scale: float = 20.0, eps: float = 1e-10) -> None:
        super().__init__()
        self.n_dims, self.scale, self.eps = n_dims, scale, eps
        self.weight = nn.Parameter(torch.full((n_dims,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` (N, C, H, W) along C, in float32 where it comes in half precision."""
        # a sum of squares of hundreds of channels exceeds the range of float16
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        length = torch.linalg.vector_norm(wide, dim=1, keepdim=True) + self.eps
        return (self.weight[:, None, None] * wide / length).to(x.dtype)

    def extra_repr(self) -> str:
        return f'{self.n_dims}, scale={self.scale}, eps={self.eps}'
