"""Anchors for rotated boxes, some of which are axis-aligned themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import RotatedBoxes, geometry

from .anchor_generator import AnchorGenerator, SizedAnchorGenerator


@TASK_UTILS.register_module()
class FakeRotatedAnchorGenerator(AnchorGenerator):
    """The anchors of ``AnchorGenerator`` as rotated boxes (..., 5) at angle 0, to which rotated boxes are assigned.

    Args:
        angle_version: 'oc', 'le90' or 'le135', else a ``ValueError``; the coder's should be the same. All have angle 0.
        strides, ratios, scales, base_sizes, scale_major, octave_base_scale, scales_per_octave, centers, center_offset:
            See ``AnchorGenerator``.
        use_box_type: Return ``RotatedBoxes`` in place of tensors.
    """

    def __init__(
        self,
        strides: Sequence[int | tuple[int, int]],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        octave_base_scale: int | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[tuple[float, float]] | None = None,
        center_offset: float = 0.0,
        use_box_type: bool = False,
        angle_version: str = 'oc',
    ) -> None:
        geometry.check_angle_version(angle_version)
        super().__init__(
            strides,
            ratios,
            scales,
            base_sizes,
            scale_major,
            octave_base_scale,
            scales_per_octave,
            centers,
            center_offset,
            use_box_type,
        )
        self.angle_version = angle_version

    def as_boxes(self, anchors: Tensor) -> Tensor | RotatedBoxes:
        rotated = geometry.to_rotated(anchors)
        return RotatedBoxes(rotated) if self.use_box_type else rotated


@TASK_UTILS.register_module()
class TurnedAnchorGenerator(SizedAnchorGenerator):
    """Rotated anchors (..., 5) of the sizes, ratios and angles of their level: RRPN, arXiv 1703.01086.

    Of one cell, angles come before ratios, and ratios before sizes.

    Args:
        strides, sizes, ratios, center_offset: As of ``SizedAnchorGenerator``.
        angles: For each level the angles in radians, positive ones clockwise; a ``ValueError`` if not one list a level.
    """

    def __init__(
        self,
        strides: Sequence[float | tuple[float, float]],
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[Sequence[float]],
        angles: Sequence[Sequence[float]],
        center_offset: float = 0.0,
    ) -> None:
        self.set_strides(strides, angles=angles)
        self.angles = [torch.tensor(level, dtype=torch.float) for level in angles]
        super().__init__(strides, sizes, ratios, center_offset, scale_major=False)

    def gen_base_anchors(self) -> list[Tensor]:
        """Anchors (A_i, 5) of the first cell of each level, in pixels and radians."""
        turned = []
        for upright, angles in zip(super().gen_base_anchors(), self.angles):
            anchors = geometry.to_rotated(upright).repeat_interleave(len(angles), dim=0)
            anchors[:, 4] = angles.repeat(len(upright))
            turned.append(anchors)
        return turned
