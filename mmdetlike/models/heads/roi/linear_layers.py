"""Linear layers in a row, as several heads of regions have them."""

import torch.nn.functional as F
from torch import Tensor, nn


def linear_layers(in_features: int, out_features: int, count: int) -> tuple[nn.ModuleList, int]:
    """``count`` linear layers, and how many features there are after them."""
    widths = [in_features] + [out_features] * count
    return nn.ModuleList(nn.Linear(width, out_features) for width in widths[:count]), widths[-1]


def run_linear(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """``x`` after the layers, with ReLU after each."""
    for layer in layers:
        x = F.relu(layer(x), inplace=True)
    return x
