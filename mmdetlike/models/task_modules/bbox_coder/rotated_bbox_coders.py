"""Box regression of rotated boxes: shifted center, log-scaled size and turned angle.

R3Det, arXiv 1908.05612, and Oriented R-CNN, arXiv 2108.05699, describe the deltas; names and arguments are those of
OpenMMLab's toolbox for rotated boxes. ``DeltaXYWHTurnBBoxCoder`` is that of RRPN, arXiv 1703.01086, as in Detectron2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import RotatedBoxes, geometry, get_box_tensor

from ..priors import Boxes
from .delta_xywh_bbox_coder import BaseDeltaCoder, DeltaXYWHBBoxCoder


@TASK_UTILS.register_module()
class DeltaXYWHTRBBoxCoder(BaseDeltaCoder):
    """Encode rotated boxes as deltas dx, dy, dw, dh, da that move rotated priors onto them, and decode them again.

    Args:
        target_means, target_stds: As of ``BaseDeltaCoder``.
        angle_version: How boxes are written, see `geometry.regularize`: 'oc', 'le90' or 'le135', else a ``ValueError``.
        norm_factor: Angles are divided by ``norm_factor`` * pi; None for radians.
        edge_swap: Encode a box with width and height exchanged where that turns the prior by less, and decode to boxes
            whose width is the longer side.
        proj_xy: Measure the shift of the center along the sides of the prior, not along the image's axes.
        add_ctr_clamp, ctr_clamp: As of ``DeltaXYWHBBoxCoder``.
        use_box_type: Decode to ``RotatedBoxes`` in place of a tensor.
    """

    encode_size = 5
    box_dim = geometry.ROTATED
    prior_dim = geometry.ROTATED

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        angle_version: str = 'oc',
        norm_factor: float | None = None,
        edge_swap: bool = False,
        proj_xy: bool = False,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        use_box_type: bool = False,
    ) -> None:
        geometry.check_angle_version(angle_version)
        super().__init__(target_means, target_stds)
        self.angle_version = angle_version
        self.norm_factor = norm_factor
        self.edge_swap, self.proj_xy = edge_swap, proj_xy
        self.ctr_clamp = ctr_clamp if add_ctr_clamp else None
        self.use_box_type = use_box_type

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> Tensor:
        """Deltas (n, 5) from priors ``bboxes`` (n, 5) to rotated boxes ``gt_bboxes`` (n, 5), in pixels and radians."""
        priors = self.rotated_priors(bboxes).float()
        gts = self.as_encoded(self.plain(gt_bboxes).float())
        shift = geometry.centers(gts) - geometry.centers(priors)
        # turned like the prior, so that deltas are the same however a pair of boxes lies in the image
        if self.proj_xy:
            shift = geometry.turned_upright(shift, priors[..., 4])
        size, turn = self._nearest_form(gts, priors[..., 4])
        turn = turn / (self.norm_factor * math.pi) if self.norm_factor else turn
        return self.normalized_deltas(shift, size, geometry.sizes(priors), turn[..., None])

    def decode(self, bboxes: Boxes, pred_bboxes: Tensor, max_shape=None, wh_ratio_clip: float = 16 / 1000) -> Boxes:
        """Rotated boxes (n, 5 * k) that deltas ``pred_bboxes`` (n, 5 * k) make of priors ``bboxes`` (n, 5).

        They are x, y, width, height in pixels, angle in radians, and not cut to ``max_shape``. ``wh_ratio_clip`` is the
        largest change of a side, as a ratio and its inverse.
        """
        priors = self.rotated_priors(bboxes)[..., None, :]
        deltas = self.raw_deltas(pred_bboxes)
        shift, size = self.bounded(deltas, geometry.sizes(priors), wh_ratio_clip)
        if self.proj_xy:
            shift = geometry.turned_upright(shift, -priors[..., 4])
        turn = deltas[..., 4] * self.norm_factor * math.pi if self.norm_factor else deltas[..., 4]
        center = geometry.centers(priors) + shift
        angle = priors[..., 4] + turn
        boxes = self._in_version(torch.cat([center, size, angle[..., None]], dim=-1))
        return RotatedBoxes(boxes.reshape(-1, 5)) if self.use_box_type else boxes.flatten(-2)

    def rotated_priors(self, bboxes: Boxes) -> Tensor:
        """The priors (n, 5) against which boxes are encoded, at angle 0 where they are axis-aligned."""
        return geometry.to_rotated(self.plain(bboxes, self.prior_dim))

    def as_encoded(self, gts: Tensor) -> Tensor:
        """Objects (n, 5), the same rectangles, written as they are encoded."""
        return geometry.regularize(gts, self.angle_version)

    def _nearest_form(self, gts: Tensor, prior_angle: Tensor) -> tuple[Tensor, Tensor]:
        """Sides (n, 2) of the objects and how far (n,) priors must be turned, in radians.

        A box is the same with its sides exchanged and turned by a quarter: with ``edge_swap`` the nearer one counts.
        """
        size = geometry.sizes(gts)
        turn = self.wrapped(gts[..., 4] - prior_angle)
        if not self.edge_swap:
            return size, turn
        other_turn = self.wrapped(gts[..., 4] - prior_angle + math.pi / 2)
        is_nearer = turn.abs() < other_turn.abs()
        return torch.where(is_nearer[..., None], size, size.flip(-1)), torch.where(is_nearer, turn, other_turn)

    def _in_version(self, boxes: Tensor) -> Tensor:
        """The boxes with their angles in the half circle of ``angle_version``."""
        if self.edge_swap:
            boxes = geometry.longer_side_first(boxes)
        return torch.cat([boxes[..., :4], self.wrapped(boxes[..., 4:])], dim=-1)

    def wrapped(self, angles: Tensor) -> Tensor:
        """Angles in the half circle of the version; 'oc' leaves them as they are, since there a turn has no bound."""
        if self.angle_version == 'oc':
            return angles
        return geometry.wrap(angles, geometry.ANGLE_VERSIONS[self.angle_version][1], math.pi)


@TASK_UTILS.register_module()
class DeltaXYWHTHBBoxCoder(DeltaXYWHTRBBoxCoder):
    """Encode rotated boxes against axis-aligned priors (n, 4), such as proposals, as boxes at angle 0.

    Args:
        target_means, target_stds, angle_version, norm_factor, edge_swap, add_ctr_clamp, ctr_clamp, use_box_type: As of
            ``DeltaXYWHTRBBoxCoder``.
    """

    prior_dim = geometry.HORIZONTAL

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        angle_version: str = 'oc',
        norm_factor: float | None = None,
        edge_swap: bool = False,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        use_box_type: bool = False,
    ) -> None:
        super().__init__(
            target_means,
            target_stds,
            angle_version,
            norm_factor,
            edge_swap,
            add_ctr_clamp=add_ctr_clamp,
            ctr_clamp=ctr_clamp,
            use_box_type=use_box_type,
        )


@TASK_UTILS.register_module()
class DeltaXYWHTurnBBoxCoder(DeltaXYWHTRBBoxCoder):
    """Encode rotated boxes as deltas dx, dy, dw, dh, da against rotated priors, angles in a full circle.

    Other than ``DeltaXYWHTRBBoxCoder`` it leaves boxes as they are written: sides are never exchanged, and angles lie
    in [-pi, pi), so that a box that stands on its head differs from one that doesn't. Only growth is bounded.

    Args:
        target_stds: As of ``BaseDeltaCoder``.
    """

    bound_shrinking = False

    def __init__(self, target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0)) -> None:
        super().__init__(target_stds=target_stds)

    def decode(self, bboxes: Boxes, pred_bboxes: Tensor, max_shape=None, wh_ratio_clip: float = 16 / 1000) -> Tensor:
        """As of ``DeltaXYWHTRBBoxCoder``, but boxes turned by no more than a degree are cut to ``max_shape``, (h, w).

        What is left of others would be no rectangle.
        """
        boxes = super().decode(bboxes, pred_bboxes, None, wh_ratio_clip)
        return boxes if max_shape is None else clip_upright(boxes.unflatten(-1, (-1, 5)), max_shape).flatten(-2)

    def as_encoded(self, gts: Tensor) -> Tensor:
        return gts

    def wrapped(self, angles: Tensor) -> Tensor:
        return geometry.wrap(angles, -math.pi, 2 * math.pi)


def clip_upright(boxes: Tensor, max_shape: Sequence[int]) -> Tensor:
    """Rotated boxes (..., 5), cut to an image of ``max_shape`` (h, w) where turned by no more than a degree."""
    upright = geometry.from_centers(geometry.centers(boxes), geometry.sizes(boxes) / 2)
    clipped = geometry.clip(upright, max_shape)
    # a side must not grow by rounding
    size = torch.minimum(geometry.sizes(clipped), geometry.sizes(boxes))
    cut = torch.cat([geometry.centers(clipped), size, boxes[..., 4:]], dim=-1)
    return torch.where(boxes[..., 4:].abs() <= math.radians(1.0), cut, boxes)


@TASK_UTILS.register_module()
class DeltaXYWHHBBoxCoder(DeltaXYWHBBoxCoder):
    """Encode the axis-aligned boxes around rotated ones against axis-aligned priors, as proposals are learned."""

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> Tensor:
        """Deltas (n, 4) from priors ``bboxes`` (n, 4) to the boxes around ``gt_bboxes`` (n, 4 or 5)."""
        return super().encode(bboxes, geometry.to_horizontal(get_box_tensor(gt_bboxes)))
