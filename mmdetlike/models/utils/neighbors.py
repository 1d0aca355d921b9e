"""Pixels around each pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor


def neighbors(maps: Tensor, kernel_size: int = 3, dilation: int = 1) -> Tensor:
    """The pixels around each pixel of maps (n, c, h, w), without itself: (n, c, kernel_size ** 2 - 1, h, w).

    They lie ``dilation`` pixels apart; beyond the border of the map there are zeros.
    """
    padding = dilation * (kernel_size - 1) // 2
    around = F.unfold(maps, kernel_size, padding=padding, dilation=dilation)
    around = around.view(*maps.shape[:2], kernel_size**2, *maps.shape[2:])
    middle = kernel_size**2 // 2
    return torch.cat([around[:, :, :middle], around[:, :, middle + 1 :]], dim=2)
