"""Sampling features at points, and pooling regions by it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from ._checks import check_choice, check_device, check_float, check_shape


def point_sample(
    input: Tensor,
    points: Tensor,
    align_corners: bool = False,
    mode: str = 'bilinear',
    padding_mode: str = 'zeros',
) -> Tensor:
    """Sample a map at points (PointRend: Image Segmentation as Rendering, arXiv 1912.08193).

    Gradients flow to the map and to the points.

    Args:
        input: (n, c, h, w).
        points: (n, p, 2), or a grid of points (n, p, q, 2): x and y, where 0 and 1 are the borders of the map.
        align_corners: 0 and 1 are the centers of the outermost pixels instead of their outer edges.
        mode: 'bilinear', 'nearest' or 'bicubic'.
        padding_mode: What lies outside of the map: 'zeros', 'border' or 'reflection'.

    Returns:
        (n, c, p), or (n, c, p, q) for a grid of points; of the dtype of `input`.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_float('point_sample', 'input', input)
    check_shape('point_sample', 'input', input, ('n', 'c', 'h', 'w'))
    check_float('point_sample', 'points', points)
    n = input.shape[0]
    check_shape('point_sample', 'points', points, (n, 'p', 'q', 2) if points.dim() == 4 else (n, 'p', 2))
    check_device('point_sample', 'points', points, input.device)
    check_choice('point_sample', 'mode', mode, ('bilinear', 'nearest', 'bicubic'))
    check_choice('point_sample', 'padding_mode', padding_mode, ('zeros', 'border', 'reflection'))
    grid = points if points.dim() == 4 else points[:, :, None]
    # Half precision would place a point up to a quarter of a pixel off in a map of 512 pixels.
    dtype = torch.promote_types(torch.promote_types(input.dtype, points.dtype), torch.float32)
    out = F.grid_sample(input.to(dtype), grid.to(dtype) * 2 - 1, mode, padding_mode, align_corners).to(input.dtype)
    return out if points.dim() == 4 else out[..., 0]


def rel_roi_point_to_abs_img_point(rois: Tensor, rel_roi_points: Tensor) -> Tensor:
    """Convert points relative to regions to pixels of the image.

    Args:
        rois: (n, 5) image index and xyxy in pixels, or (n, 4) xyxy.
        rel_roi_points: (n, p, 2) x and y, where 0 and 1 are the borders of the region.

    Returns:
        (n, p, 2) in pixels.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    op = 'rel_roi_point_to_abs_img_point'
    check_float(op, 'rois', rois)
    check_shape(op, 'rois', rois, ('n', 4 if rois.shape[-1:] == (4,) else 5))
    check_float(op, 'rel_roi_points', rel_roi_points)
    check_shape(op, 'rel_roi_points', rel_roi_points, (rois.shape[0], 'p', 2))
    check_device(op, 'rel_roi_points', rel_roi_points, rois.device)
    low = rois[:, None, -4:-2]
    high = rois[:, None, -2:]
    return low + rel_roi_points * (high - low)


def abs_img_point_to_rel_img_point(
    abs_img_points: Tensor, img: Tensor | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Convert points in pixels of the image to fractions of a feature map's sides.

    Args:
        abs_img_points: (n, p, 2) x and y in pixels.
        img: The map, (n, c, h, w), or its size (h, w).
        spatial_scale: Pixels of the map per pixel of the image.

    Returns:
        (n, p, 2), where 0 and 1 are the borders of the map.

    Raises:
        TypeError, ValueError: An argument has a wrong type or shape.
    """
    check_float('abs_img_point_to_rel_img_point', 'abs_img_points', abs_img_points)
    check_shape('abs_img_point_to_rel_img_point', 'abs_img_points', abs_img_points, ('n', 'p', 2))
    if not isinstance(img, Tensor) and len(img) != 2:
        raise ValueError(f'abs_img_point_to_rel_img_point: img is {img!r}, a map or its (h, w) is expected')
    height, width = img.shape[-2:] if isinstance(img, Tensor) else img
    # not new_tensor([width, height]), which would read the values of sizes that torch.export keeps open
    size = torch.stack([abs_img_points.new_full((), side) for side in (width, height)])
    return abs_img_points * spatial_scale / size


def rel_roi_point_to_rel_img_point(
    rois: Tensor, rel_roi_points: Tensor, img: Tensor | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Convert points relative to regions to fractions of a feature map's sides, which `point_sample` takes.

    Args:
        rois: (n, 5) image index and xyxy in pixels of the image, or (n, 4) xyxy.
        rel_roi_points: (n, p, 2) x and y, where 0 and 1 are the borders of the region.
        img: The map, (n, c, h, w), or its size (h, w).
        spatial_scale: Pixels of the map per pixel of the image.

    Returns:
        (n, p, 2), where 0 and 1 are the borders of the map.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    return abs_img_point_to_rel_img_point(rel_roi_point_to_abs_img_point(rois, rel_roi_points), img, spatial_scale)


def generate_grid(
    num_grid: int,
    size: int | tuple[int, int],
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The centers of the cells of a regular grid over the unit square, row by row.

    Args:
        num_grid: How many copies.
        size: Rows and columns of the grid, or one number for both.
        device: Where to make it.
        dtype: Of the result.

    Returns:
        (num_grid, rows * columns, 2) x and y in [0, 1]; the copies share their memory.
    """
    rows, columns = _pair(size)
    ys = (torch.arange(rows, device=device, dtype=dtype) + 0.5) / rows
    xs = (torch.arange(columns, device=device, dtype=dtype) + 0.5) / columns
    y, x = torch.meshgrid(ys, xs, indexing='ij')
    return torch.stack([x, y], dim=-1).view(1, -1, 2).expand(num_grid, -1, -1)


class SimpleRoIAlign(nn.Module):
    """Features of regions, one bilinear sample at the center of each bin (PointRend, arXiv 1912.08193).

    Args:
        output_size: Bins (height, width), or one number for both.
        spatial_scale: Pixels of the features per pixel of the image.
        aligned: Pixel centers lie at half coordinates; else 0 and 1 are the centers of the outermost pixels.
    """

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float, aligned: bool = True):
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)
        self.aligned = aligned

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Features (k, c, height, width) of `rois` (k, 5): index in `features` (n, c, h, w), xyxy in image pixels."""
        check_float('SimpleRoIAlign', 'features', features)
        check_shape('SimpleRoIAlign', 'features', features, ('n', 'c', 'h', 'w'))
        check_float('SimpleRoIAlign', 'rois', rois)
        check_shape('SimpleRoIAlign', 'rois', rois, ('k', 5))
        check_device('SimpleRoIAlign', 'rois', rois, features.device)
        height, width = self.output_size
        rois = rois.to(torch.promote_types(rois.dtype, torch.float32))
        grid = generate_grid(rois.shape[0], self.output_size, rois.device, rois.dtype)
        points = rel_roi_point_to_rel_img_point(rois, grid, features, self.spatial_scale)
        out = features.new_zeros(rois.shape[0], features.shape[1], height, width)
        for image in range(features.shape[0]):
            (members,) = torch.where(rois[:, 0] == image)
            sampled = point_sample(features[image : image + 1], points[members][None], not self.aligned)[0]
            out = out.index_copy(0, members, sampled.transpose(0, 1).unflatten(2, (height, width)))
        return out

    def extra_repr(self) -> str:
        return f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, aligned={self.aligned}'
