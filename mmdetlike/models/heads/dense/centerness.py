"""Centerness of points: FCOS, arXiv 1904.01355."""

import torch
from torch import Tensor


def centerness_target(distances: Tensor) -> Tensor:
    """How central points (n,) are in their boxes, from their distances (n, 4) to left, top, right and bottom."""
    near = torch.minimum(distances[:, :2], distances[:, 2:])
    far = torch.maximum(distances[:, :2], distances[:, 2:])
    return (near / far).prod(-1).sqrt()
