"""Which points of a mask to train on (PointRend: Image Segmentation as Rendering, arXiv 1912.08193)."""

import torch
from torch import Tensor

from mmdetlike_ops import point_sample


def get_uncertainty(mask_pred: Tensor, labels: Tensor) -> Tensor:
    """How close the logits of each region's own class are to 0: minus their magnitude, (R, 1, ...).

    ``mask_pred`` holds logits (R, C, ...), where C is 1 if masks are not per class, ``labels`` (R,) the classes.
    """
    if mask_pred.shape[1] > 1:
        mask_pred = mask_pred[torch.arange(len(mask_pred), device=mask_pred.device), labels][:, None]
    # a logit of 0 is a probability of one half
    return -mask_pred.abs()


def get_uncertain_point_coords_with_randomness(
    mask_pred: Tensor, labels: Tensor, num_points: int, oversample_ratio: float, importance_sample_ratio: float
) -> Tensor:
    """Draw points (R, num_points, 2) of masks, x and y in [0, 1], most of them where the prediction is uncertain.

    ``oversample_ratio * num_points`` points are drawn at random; of these the most uncertain ones become
    ``importance_sample_ratio`` of the result, and the rest is drawn anew.

    Args:
        mask_pred, labels: Logits (R, C, h, w) and classes (R,) of regions, as ``get_uncertainty`` takes them.
        num_points: Points of each mask.
        oversample_ratio: At least 1, else a ``ValueError``.
        importance_sample_ratio: In [0, 1], else a ``ValueError``.
    """
    if oversample_ratio < 1:
        raise ValueError(f'oversample_ratio must be at least 1, but got {oversample_ratio}.')
    if not 0 <= importance_sample_ratio <= 1:
        raise ValueError(f'importance_sample_ratio must be in [0, 1], but got {importance_sample_ratio}.')
    regions = len(mask_pred)
    device = mask_pred.device
    points = torch.rand(regions, int(num_points * oversample_ratio), 2, device=device)
    # uncertainty is taken from logits at the points: that of the map, sampled there, would favor the middle of pixels
    uncertainty = get_uncertainty(point_sample(mask_pred, points), labels)[:, 0]
    num_uncertain = int(importance_sample_ratio * num_points)
    best = uncertainty.topk(num_uncertain, dim=1).indices
    points = points.gather(1, best[..., None].expand(-1, -1, 2))
    return torch.cat([points, torch.rand(regions, num_points - num_uncertain, 2, device=device)], dim=1)
