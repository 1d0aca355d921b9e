"""Heat maps of object centers: drawing them, and reading peaks from them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_radius(det_size: tuple[float, float], min_overlap: float) -> float:
    """How far both corners of a box may move so that it still overlaps the original one.

    Three cases bound the radius r for a box of h x w: one corner moves out and the other in, both move in, both move
    out. In each the IoU falls to ``min_overlap`` at the root of a quadratic equation in r; the smallest root counts
    (CornerNet, arXiv 1808.01244).

    Args:
        det_size: Height and width of the box, numbers or tensors; the radius is in their unit.
        min_overlap: IoU in (0, 1].
    """
    height, width = det_size
    area = height * width
    perimeter = height + width
    shifted, _ = _roots(1, -perimeter, area * (1 - min_overlap) / (1 + min_overlap))
    inside, _ = _roots(4, -2 * perimeter, area * (1 - min_overlap))
    _, outside = _roots(4 * min_overlap, 2 * min_overlap * perimeter, area * (min_overlap - 1))
    return min(shifted, inside, outside)


def _roots(a: float, b: float, c: float) -> tuple[float, float]:
    """The smaller and the larger x at which ``a * x ** 2 + b * x + c`` is 0."""
    discriminant = b * b - 4 * a * c
    distance = discriminant.sqrt() if isinstance(discriminant, Tensor) else math.sqrt(discriminant)
    return (-b - distance) / (2 * a), (-b + distance) / (2 * a)


def gaussian_2d(radius: int, sigma: float = 1, dtype: torch.dtype = torch.float32, device: str = 'cpu') -> Tensor:
    """A bell with peak 1, (2 * radius + 1, 2 * radius + 1); values below the precision of ``dtype`` are 0."""
    square = torch.arange(-radius, radius + 1, dtype=dtype, device=device) ** 2
    bell = torch.exp(-(square[:, None] + square[None]) / (2 * sigma * sigma))
    return torch.where(bell < torch.finfo(dtype).eps, 0, bell)


def gen_gaussian_target(heatmap: Tensor, center: tuple[int, int], radius: int, k: float = 1) -> Tensor:
    """Draw a bell into a heat map where it exceeds what is there, and return the map.

    Args:
        heatmap: (H, W), changed in place.
        center: x and y of the peak in pixels.
        radius: Half the size of the bell, whose deviation is a sixth of its diameter ``2 * radius + 1``.
        k: Height of the peak.
    """
    radius = int(radius)
    bell = gaussian_2d(radius, (2 * radius + 1) / 6, heatmap.dtype, heatmap.device)
    x = int(center[0])
    y = int(center[1])
    height, width = heatmap.shape[:2]
    left = min(x, radius)
    right = min(width - x, radius + 1)
    top = min(y, radius)
    bottom = min(height - y, radius + 1)
    # the bell lies outside of the map altogether
    if left + right <= 0 or top + bottom <= 0 or right <= -radius or bottom <= -radius:
        return heatmap
    region = heatmap[y - top : y + bottom, x - left : x + right]
    patch = bell[radius - top : radius + bottom, radius - left : radius + right]
    torch.maximum(region, patch * k, out=region)
    return heatmap


def get_local_maximum(heat: Tensor, kernel: int = 3) -> Tensor:
    """``heat`` (B, C, H, W) where it is the maximum of the ``kernel`` x ``kernel`` pixels around, 0 elsewhere."""
    peak = F.max_pool2d(heat, kernel, stride=1, padding=(kernel - 1) // 2)
    # the suppression of CenterNet: a pixel that is not the maximum of its neighbors is no object
    return heat * (peak == heat)


def get_topk_from_heatmap(scores: Tensor, k: int = 20) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The ``k`` highest of ``scores`` (B, C, H, W) of heat maps, all if there are fewer, and where they are.

    Returns scores, indices of the pixels in H * W, classes in C, rows and columns as numbers, each (B, k).
    """
    batch, _, height, width = scores.shape
    flat = scores.reshape(batch, -1)
    top, inds = flat.topk(min(k, flat.shape[1]))
    pixels = inds % (height * width)
    return top, pixels, inds // (height * width), pixels // width, (pixels % width).float()


def transpose_and_gather_feat(feat: Tensor, ind: Tensor) -> Tensor:
    """Pick pixels ``ind`` (B, M), counted row by row, of a map ``feat`` (B, C, H, W): (B, M, C)."""
    return feat.flatten(2).transpose(1, 2).gather(1, ind[:, :, None].expand(-1, -1, feat.shape[1]))
