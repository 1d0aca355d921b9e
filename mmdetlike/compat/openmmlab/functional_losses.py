"""Losses as functions, which ``mmdet`` has beside the modules."""

from collections.abc import Callable

from torch import Tensor

from mmdetlike.models import losses


def _function(module: type) -> Callable:
    """The function that a loss module wraps: ``(pred, target, weight, reduction, avg_factor)`` and its settings."""

    def loss(
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: float | None = None,
        **settings,
    ) -> Tensor:
        return module(reduction=reduction, **settings)(pred, target, weight, avg_factor=avg_factor)

    loss.__doc__ = f'``{module.__name__}`` as a function; ``settings`` are what that takes when it is made.'
    return loss


l1_loss = _function(losses.L1Loss)
smooth_l1_loss = _function(losses.SmoothL1Loss)
mse_loss = _function(losses.MSELoss)
iou_loss = _function(losses.IoULoss)
bounded_iou_loss = _function(losses.BoundedIoULoss)
giou_loss = _function(losses.GIoULoss)
diou_loss = _function(losses.DIoULoss)
ciou_loss = _function(losses.CIoULoss)
quality_focal_loss = _function(losses.QualityFocalLoss)
