"""``mmdetlike_ops.heatmap_peaks`` in tensors of fixed shapes: the form that ONNX needs.

A region's heatmap is resized to the pixels of the region, of which the best one is taken. The size of that picture is
known only when a graph runs. Here only some of its pixels are computed, a fixed number in each region: first a grid
over all of it, then the neighborhoods of the grid's peaks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# points of the grid along a side of a region; of up to as many pixels, each has its own
GRID = 160
# peaks of the grid whose neighborhoods are computed
CANDIDATES = 8
# pixels to each side of a peak that are computed at most: all that are closer than the next point but one of the grid,
# on a region of up to 160 * 9 = 1440 pixels; on larger ones not every pixel is looked at
REACH = 18
# torch's bicubic interpolation, a cubic convolution (Keys, 1981) with this slope at distance 1
SLOPE = -0.75
# pixels that the kernel of the interpolation reaches beyond the border, and the cells around a neighborhood
TAPS = 2


def peaks_on_pixels(maps: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """The best pixel of each heatmap, resized bicubically to the size of its region.

    The values are those of ``F.interpolate(mode='bicubic', align_corners=False)`` at pixels of the resized heatmap. A
    peak is missed where 8 others, of which one is lower, stand out more on a grid of 160 x 160 of its pixels.

    Args:
        maps: (R, K, h, w) logits.
        sizes: (R, 2) whole numbers, height and width of the regions in pixels.

    Returns:
        Row and column (R, K, 2) int64 of the best pixel, and its value (R, K).
    """
    # a tensor made of numbers cannot be part of a decomposition
    cells = torch.stack([maps.new_full((), side) for side in maps.shape[-2:]])
    padded = F.pad(maps, (TAPS,) * 4, mode='replicate')
    sizes = sizes.to(maps)
    strides = (sizes / GRID).ceil().clamp(min=1)
    candidates = _grid_peaks(padded, sizes, strides, cells)
    pixels = _neighborhoods(candidates, strides, sizes, cells)
    best, values = _best_pixels(padded, pixels, sizes, cells)
    return best.long(), values


def _grid_peaks(padded: Tensor, sizes: Tensor, strides: Tensor, cells: Tensor) -> Tensor:
    """Rows and columns (R, K, c, 2) of the highest local maxima among every ``strides``-th pixel."""
    points = torch.arange(GRID, device=padded.device) * strides[..., None]  # (R, 2, points)
    is_inside = points < sizes[..., None]
    positions = _cell_positions(points, sizes[..., None], cells[:, None])
    rows, columns = (
        _cubic_weights(positions[:, axis], torch.arange(padded.shape[2 + axis], device=padded.device))
        for axis in (0, 1)
    )
    values = rows[:, None] @ padded @ columns[:, None].transpose(2, 3)
    lowest = torch.finfo(values.dtype).min
    values = torch.where((is_inside[:, 0, :, None] & is_inside[:, 1, None])[:, None], values, lowest)
    is_peak = values == F.max_pool2d(values, 3, stride=1, padding=1)
    indices = torch.where(is_peak, values, lowest).flatten(2).topk(CANDIDATES).indices
    grid_rows = torch.div(indices, GRID, rounding_mode='floor')
    found = torch.stack([grid_rows, indices - grid_rows * GRID], dim=-1)
    return found * strides[:, None, None]


def _neighborhoods(candidates: Tensor, strides: Tensor, sizes: Tensor, cells: Tensor) -> Tensor:
    """Rows and columns (R, K, c, 2, p) around candidates (R, K, c, 2), up to the next points but one of the grid."""
    offsets = torch.arange(1 - REACH, REACH, device=candidates.device)
    steps = (2 * strides / REACH).ceil()  # 1 but on very large regions
    # a ridge that runs askew can have its peak beyond the next point and, along a side whose pixels are all on the
    # grid, up to a cell away; a grid of all pixels along both sides has nothing in between
    limits = torch.where(strides > 1, 2 * strides - 1, (sizes / cells).floor())
    limits = torch.where((strides > 1).any(1, keepdim=True), limits, 0)
    offsets = (offsets * steps[..., None]).clamp(-limits[..., None], limits[..., None])
    return candidates[..., None] + offsets[:, None, None]


def _best_pixels(padded: Tensor, pixels: Tensor, sizes: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the neighborhoods' pixels is best; see ``peaks_on_pixels``."""
    # pixels outside the region repeat those at its border
    pixels = pixels.clamp(min=0).minimum((sizes - 1)[:, None, None, :, None])
    positions = _cell_positions(pixels, sizes[:, None, None, :, None], cells[:, None])
    rows = _nearby_cells(positions[..., 0, :], padded.shape[2])
    columns = _nearby_cells(positions[..., 1, :], padded.shape[3])
    patches = _patches(padded, rows, columns)
    row_weights = _cubic_weights(positions[..., 0, :], rows[..., None, :])
    column_weights = _cubic_weights(positions[..., 1, :], columns[..., None, :])
    values = row_weights @ patches @ column_weights.transpose(-2, -1)
    best, indices = values.flatten(2).max(2)
    side = pixels.shape[-1]
    candidate = torch.div(indices, side * side, rounding_mode='floor')
    indices = indices - candidate * side * side
    row = torch.div(indices, side, rounding_mode='floor')
    column = indices - row * side
    chosen = pixels.gather(2, candidate[..., None, None, None].expand(-1, -1, 1, 2, side))[:, :, 0]
    point = torch.stack([row, column], dim=-1)[..., None]
    return chosen.gather(3, point)[..., 0], best


def _cell_positions(pixels: Tensor, sizes: Tensor, cells: Tensor) -> Tensor:
    """Where the centers of pixels of a resized heatmap lie among the cells of the padded one."""
    return (pixels + 0.5) * (cells / sizes) - 0.5 + TAPS


def _cubic_weights(positions: Tensor, indices: Tensor) -> Tensor:
    """Weights (..., p, q) of cells (q,) or (..., 1, q) at positions (..., p) among them."""
    distances = (positions[..., None] - indices).abs()
    near = ((SLOPE + 2) * distances - (SLOPE + 3)) * distances * distances + 1
    far = ((SLOPE * distances - 5 * SLOPE) * distances + 8 * SLOPE) * distances - 4 * SLOPE
    return torch.where(distances <= 1, near, torch.where(distances < 2, far, 0.0))


def _nearby_cells(positions: Tensor, length: int) -> Tensor:
    """Indices (..., q) of all cells of an axis that pixels of neighborhoods, at positions (..., p), are made of."""
    # a neighborhood is one pixel or, of a region of more pixels than GRID, up to 6 pixels of 161 wide (strides of 2)
    span = min(2 * TAPS + 1 + math.ceil(6 * length / GRID), length)
    first = (positions.amin(-1).floor() - 1).clamp(0, length - span)
    return first[..., None] + torch.arange(span, device=positions.device)


def _patches(padded: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Cells (R, K, c, q, q) in rows and columns (R, K, c, q) of maps (R, K, h, w)."""
    indices = rows.long()[..., :, None] * padded.shape[3] + columns.long()[..., None, :]
    return padded.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)
