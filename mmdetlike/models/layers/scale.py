"""A learnable scalar factor."""

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
