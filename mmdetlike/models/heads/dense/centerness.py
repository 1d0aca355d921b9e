"""Centerness of points: FCOS, arXiv 1904.01355."""

import torch
from torch import Tensor


def centerness_target(distances: Tensor) -> Tensor:
    """Centerness (n,) in [0, 1] of points from their distances (n, 4) to left, top, right and bottom of their box.

    It is 1 in the middle and 0 on a side: equation 3 of the paper.
    """
    near = torch.minimum(distances[:, :2], distances[:, 2:])
    far = torch.maximum(distances[:, :2], distances[:, 2:])
    return (near / far).prod(-1).sqrt()
