"""Point sets and quadrilaterals: smallest rectangles, points inside, generalized IoU with its gradient."""

import torch
from torch import Tensor

from ._checks import check_device, check_table
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::min_area_polygons')
def _fake_min_area_polygons(pointsets):
    return pointsets.new_empty(pointsets.shape[0], 8)


@torch.library.register_fake('mmdetlike_ops::points_in_polygons')
def _fake_points_in_polygons(points, polygons):
    return points.new_empty(points.shape[0], polygons.shape[0])


@torch.library.register_fake('mmdetlike_ops::convex_giou')
def _fake_convex_giou(pointsets, polygons):
    return pointsets.new_empty(pointsets.shape[0]), pointsets.new_empty(pointsets.shape)


@torch.library.custom_op('mmdetlike_ops::convex_giou_backward', mutates_args=())
def _convex_giou_backward(grad: Tensor, pointsets: Tensor, derivatives: Tensor) -> Tensor:
    """The gradient; `pointsets` are there for autograd to know what it depends on."""
    return grad[:, None] * derivatives


@_convex_giou_backward.register_fake
def _fake_convex_giou_backward(grad, pointsets, derivatives):
    return torch.empty_like(derivatives, memory_format=torch.contiguous_format)


def _setup_context(ctx, inputs, output):
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(inputs[0], output[1])


def _backward(ctx, grad, _):
    return kernels.convex_giou_backward(grad, *ctx.saved_tensors), None


register_backward('convex_giou', _backward, _setup_context)


def min_area_polygons(pointsets: Tensor) -> Tensor:
    """The smallest rectangle around each set of nine points. Carries no gradient.

    Args:
        pointsets: (n, 18) x1 y1 ... x9 y9 in pixels.

    Returns:
        (n, 8) x1 y1 ... x4 y4 of the corners. Where the y axis points up, they run clockwise from the lower right one
        of a rectangle that is turned counter-clockwise by less than 90 degrees. NaN where a point is not finite.

    Raises:
        TypeError, ValueError: `pointsets` has a wrong type or shape.
    """
    check_table('min_area_polygons', 'pointsets', pointsets, 18)
    return kernels.min_area_polygons(pointsets.detach())


def points_in_polygons(points: Tensor, polygons: Tensor) -> Tensor:
    """Whether points lie inside quadrilaterals. Carries no gradient.

    Args:
        points: (n, 2) x, y in pixels.
        polygons: (m, 8) x1 y1 ... x4 y4 of the corners, either way round, convex or not, sides not crossing.

    Returns:
        (n, m), of the wider of the two dtypes: 1 inside, 0 outside and on the border.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    check_table('points_in_polygons', 'points', points, 2)
    check_table('points_in_polygons', 'polygons', polygons, 8)
    check_device('points_in_polygons', 'polygons', polygons, points.device)
    dtype = torch.promote_types(points.dtype, polygons.dtype)
    return kernels.points_in_polygons(points.detach().to(dtype), polygons.detach().to(dtype))


def convex_giou(pointsets: Tensor, polygons: Tensor) -> tuple[Tensor, Tensor]:
    """Generalized IoU (arXiv 1902.09630) of the convex hulls of point sets with quadrilaterals, and its gradient.

    Args:
        pointsets: (n, 18) x1 y1 ... x9 y9 in pixels.
        polygons: (n, 8) x1 y1 ... x4 y4, convex, either way round. They carry no gradient.

    Returns:
        The generalized IoU (n,), from -1 to 1, which carries gradients to `pointsets`, and its derivatives by the
        coordinates of the points (n, 18), for losses that weigh them themselves. Both are of the wider of the two
        dtypes; 0 where all points lie on one line, NaN where one is not finite.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
    """
    check_table('convex_giou', 'pointsets', pointsets, 18)
    check_table('convex_giou', 'polygons', polygons, 8)
    check_device('convex_giou', 'polygons', polygons, pointsets.device)
    if pointsets.shape[0] != polygons.shape[0]:
        raise ValueError(
            f'convex_giou: rows are paired, but pointsets has {pointsets.shape[0]} and polygons {polygons.shape[0]}'
        )
    dtype = torch.promote_types(pointsets.dtype, polygons.dtype)
    return kernels.convex_giou(pointsets.to(dtype), polygons.detach().to(dtype))
