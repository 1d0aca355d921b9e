"""The best pixels of heatmaps that are each resized to a size of their own."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ._checks import check_device, check_float, check_shape


@torch.library.custom_op('mmdetlike_ops::heatmap_peaks', mutates_args=())
def _heatmap_peaks(maps: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """One operator, in torch's own operations: a graph cannot hold the loop, as sizes are known only when it runs."""
    pixels = maps.new_zeros(*maps.shape[:2], 2, dtype=torch.int64)
    values = maps.new_zeros(maps.shape[:2])
    for i, (height, width) in enumerate(sizes.tolist()):
        resized = F.interpolate(maps[i, :, None], size=(height, width), mode='bicubic', align_corners=False)
        values[i], indices = resized.flatten(1).max(1)
        rows = torch.div(indices, width, rounding_mode='floor')
        pixels[i] = torch.stack([rows, indices - rows * width], dim=-1)
    return pixels, values


@_heatmap_peaks.register_fake
def _fake_heatmap_peaks(maps, sizes):
    return maps.new_empty(*maps.shape[:2], 2, dtype=torch.int64), maps.new_empty(maps.shape[:2])


def heatmap_peaks(maps: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Resize each region's heatmaps bicubically to the region's own pixels, and find the best pixel of each.

    So peaks are as fine as the image (keypoints of Mask R-CNN, arXiv 1703.06870). Carries no gradient.

    Args:
        maps: (n, k, h, w), k heatmaps of each region.
        sizes: (n, 2) integers above 0, height and width of the regions in pixels.

    Returns:
        Row and column (n, k, 2) int64 of the best pixel, the first one of several, and its value (n, k).

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    check_float('heatmap_peaks', 'maps', maps)
    check_shape('heatmap_peaks', 'maps', maps, ('n', 'k', 'h', 'w'))
    check_shape('heatmap_peaks', 'sizes', sizes, (maps.shape[0], 2))
    check_device('heatmap_peaks', 'sizes', sizes, maps.device)
    if sizes.is_floating_point():
        raise TypeError(f'heatmap_peaks: sizes has dtype {sizes.dtype}, an integer dtype is expected')
    return torch.ops.mmdetlike_ops.heatmap_peaks(maps.detach(), sizes.detach())
