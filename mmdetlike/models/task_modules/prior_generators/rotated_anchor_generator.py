"""Anchors for rotated boxes, which are axis-aligned themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import RotatedBoxes, geometry

from .anchor_generator import AnchorGenerator


@TASK_UTILS.register_module()
class FakeRotatedAnchorGenerator(AnchorGenerator):
    """The anchors of ``AnchorGenerator`` as rotated boxes (..., 5) at angle 0, to which rotated boxes are assigned.

    Args:
        angle_version: 'oc', 'le90' or 'le135', which the coder's should be too; all of them have the angle 0.
        strides, ratios, scales, base_sizes, scale_major, octave_base_scale, scales_per_octave, centers, center_offset:
            See ``AnchorGenerator``.
        use_box_type: Return ``RotatedBoxes`` in place of tensors.

    Raises:
        ValueError: ``angle_version`` is unknown or the other settings contradict each other.
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
        )
        self.angle_version = angle_version
        # the parent's `use_box_type` would wrap anchors as axis-aligned boxes before they are turned into rotated ones
        self.use_rotated_boxes = use_box_type

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cuda',
    ) -> Tensor | RotatedBoxes:
        """Anchors (H * W * A, 5) of one level with a map of ``featmap_size`` (H, W)."""
        anchors = geometry.to_rotated(super().single_level_grid_priors(featmap_size, level_idx, dtype, device=device))
        return RotatedBoxes(anchors) if self.use_rotated_boxes else anchors
