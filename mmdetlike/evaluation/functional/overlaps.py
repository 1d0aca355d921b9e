"""Overlap of boxes held in arrays."""

import numpy as np
import torch

from ...structures.bbox import geometry


def box_iou(a: np.ndarray, b: np.ndarray, extra: float = 0.0) -> np.ndarray:
    """(len(a), len(b)) intersection over union of xyxy boxes (n, 4) and (m, 4), or of rotated ones (n, 5) and (m, 5).

    Args:
        a: Boxes in pixels.
        b: Boxes of the same kind.
        extra: Added to widths and heights: 1 where coordinates count pixels inclusively, as VOC's evaluation does.
    """
    if a.shape[1] == geometry.ROTATED:
        return geometry.overlaps(torch.from_numpy(a).double(), torch.from_numpy(b).double()).numpy()
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.clip(bottom_right - top_left + extra, 0, None).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2] + extra).prod(-1) for boxes in (a, b))
    union = area_a[:, None] + area_b - intersection
    return intersection / np.where(union > 0, union, 1)  # two boxes without area overlap by 0
