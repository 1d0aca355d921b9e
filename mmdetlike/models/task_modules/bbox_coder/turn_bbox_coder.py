"""Box regression of rotated boxes that may be turned by any angle: RRPN, arXiv 1703.01086, in Detectron2's details."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .delta_xywh_bbox_coder import BaseDeltaCoder, bound_deltas


@TASK_UTILS.register_module()
class DeltaXYWHTurnBBoxCoder(BaseDeltaCoder):
    """Encode rotated boxes as deltas dx, dy, dw, dh, da against rotated priors, angles in a full circle.

    Other than ``DeltaXYWHTRBBoxCoder`` it leaves boxes as they are written: sides are never exchanged, and angles lie
    in [-pi, pi), so that a box that stands on its head differs from one that doesn't. Only growth is bounded.

    Args:
        target_stds: As of ``BaseDeltaCoder``.
    """

    encode_size = 5
    prior_dim = geometry.ROTATED
    box_dim = geometry.ROTATED

    def __init__(self, target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0)) -> None:
        super().__init__((0.0,) * self.encode_size, target_stds)

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Deltas (n, 5) from priors ``bboxes`` (n, 5) to ``gt_bboxes`` (n, 5), in pixels and radians."""
        priors = self.plain(bboxes).float()
        gts = self.plain(gt_bboxes).float()
        shift = geometry.centers(gts) - geometry.centers(priors)
        turn = _in_circle(gts[..., 4:] - priors[..., 4:])
        return self.normalized_deltas(shift, geometry.sizes(gts), geometry.sizes(priors), turn)

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, max_shape=None, wh_ratio_clip: float = 16 / 1000) -> Tensor:
        """Rotated boxes (n, 5 * k) that deltas ``pred_bboxes`` (n, 5 * k) make of priors ``bboxes`` (n, 5).

        They are x, y, width, height in pixels, angle in radians. Those that are turned by no more than a degree are cut
        to ``max_shape``, (height, width); what is left of others would be no rectangle. Sides grow at most by the
        inverse of ``wh_ratio_clip``.
        """
        priors = self.plain(bboxes)[..., None, :]
        deltas = self.raw_deltas(pred_bboxes)
        prior_size = geometry.sizes(priors)
        shift = deltas[..., :2] * prior_size
        shift, growth = bound_deltas(shift, deltas[..., 2:4], wh_ratio_clip, None, bound_shrinking=False)
        center = geometry.centers(priors) + shift
        angle = _in_circle(priors[..., 4:] + deltas[..., 4:])
        boxes = torch.cat([center, prior_size * growth, angle], dim=-1)
        return (boxes if max_shape is None else clip_upright(boxes, max_shape)).flatten(-2)


def clip_upright(boxes: Tensor, max_shape: Sequence[int]) -> Tensor:
    """Rotated boxes (..., 5), cut to an image of ``max_shape`` (h, w) where turned by no more than a degree."""
    half = geometry.sizes(boxes) / 2
    center = geometry.centers(boxes)
    clipped = geometry.clip(torch.cat([center - half, center + half], dim=-1), max_shape)
    # a side must not grow by rounding
    size = torch.minimum(geometry.sizes(clipped), geometry.sizes(boxes))
    cut = torch.cat([geometry.centers(clipped), size, boxes[..., 4:]], dim=-1)
    return torch.where(boxes[..., 4:].abs() <= math.radians(1.0), cut, boxes)


def _in_circle(angles: Tensor) -> Tensor:
    return geometry.wrap(angles, -math.pi, 2 * math.pi)
