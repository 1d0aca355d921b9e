"""Feature refinement of R3Det: adds to each position the features at the points of its box."""

import torch
from torch import Tensor

from ._checks import check_choice, check_device, check_floating, check_plane, check_shape
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::rotated_feature_align')
def _fake_rotated_feature_align(x, boxes, scale, points):
    return x.new_empty(x.shape)


@torch.library.register_fake('mmdetlike_ops::rotated_feature_align_backward')
def _fake_rotated_feature_align_backward(grad, boxes, scale, points, deterministic):
    return grad.new_empty(grad.shape)


def _setup_context(ctx, inputs, output):
    _, boxes, *ctx.settings = inputs
    ctx.save_for_backward(boxes)


def _backward(ctx, grad):
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_x = kernels.rotated_feature_align_backward(grad, *ctx.saved_tensors, *ctx.settings, deterministic)
    return grad_x, None, None, None


register_backward('rotated_feature_align', _backward, _setup_context)


def rotated_feature_align(
    features: Tensor, best_rbboxes: Tensor, spatial_scale: float = 1 / 8, points: int = 1
) -> Tensor:
    """Add to the features of each position those at the points of its box (R3Det, arXiv 1908.05612).

    Args:
        features: (n, c, h, w).
        best_rbboxes: (n, h, w, 5) rotated box of each position: center, width and height in pixels of the image, angle
            in radians. The first number of the center is read as y and the second as x, as in the OpenMMLab ops library
            and so in networks trained with it. They carry no gradient.
        spatial_scale: Pixels of the features per pixel of the image.
        points: 1, the center of the box, or 5, the center and the four corners.

    Returns:
        (n, c, h, w), of the dtype of `features`: the features plus the sum of the bilinear samples. Samples more than
        one pixel outside the map count as 0.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    op = 'rotated_feature_align'
    check_floating(op, 'features', features)
    check_shape(op, 'features', features, ('n', 'c', 'h', 'w'))
    check_plane(op, 'features', features)
    check_floating(op, 'best_rbboxes', best_rbboxes)
    check_shape(op, 'best_rbboxes', best_rbboxes, (features.shape[0], *features.shape[2:], 5))
    check_device(op, 'best_rbboxes', best_rbboxes, features.device)
    check_choice(op, 'points', points, (1, 5))
    boxes = best_rbboxes.detach().to(torch.float64 if features.dtype == torch.float64 else torch.float32)
    return kernels.rotated_feature_align(features, boxes, float(spatial_scale), points)
