"""Anchors for rotated boxes, some of which are axis-aligned themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import RotatedBoxes, geometry

from .anchor_generator import AnchorGenerator
from .sized_anchor_generator import SizedAnchorGenerator


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
        device: torch.device | str = 'cpu',
    ) -> Tensor | RotatedBoxes:
        """Anchors (H * W * A, 5) of one level with a map of ``featmap_size`` (H, W)."""
        anchors = geometry.to_rotated(super().single_level_grid_priors(featmap_size, level_idx, dtype, device=device))
        return RotatedBoxes(anchors) if self.use_rotated_boxes else anchors


@TASK_UTILS.register_module()
class TurnedAnchorGenerator(SizedAnchorGenerator):
    """Rotated anchors (..., 5) of the sizes, ratios and angles of their level: RRPN, arXiv 1703.01086.

    Of one cell, angles come before ratios, and ratios before sizes.

    Args:
        strides: Stride of each level in pixels, a number or (x, y).
        sizes: For each level the square roots of its anchors' areas, in pixels.
        ratios: For each level the heights / widths.
        angles: For each level the angles in radians, positive ones clockwise.
        center_offset: Position of the center within the cell, 0 to 1.

    Raises:
        ValueError: There is not one list of sizes, of ratios and of angles for each level.
    """

    def __init__(
        self,
        strides: Sequence[float | tuple[float, float]],
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[Sequence[float]],
        angles: Sequence[Sequence[float]],
        center_offset: float = 0.0,
    ) -> None:
        if len(angles) != len(strides):
            raise ValueError(f'angles must have one entry a stride ({len(strides)}), got {len(angles)}')
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

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        *,
        device: torch.device | str,
    ) -> Tensor:
        """Anchors (H * W * A, 5) of one level with a map of ``featmap_size`` (H, W)."""
        base = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        shifts = self.grid_shifts(featmap_size, level_idx, dtype, device)[:, None]
        centers = shifts + base[:, :2]
        sizes_and_angles = base[:, 2:].expand(len(shifts), -1, -1)
        return torch.cat([centers, sizes_and_angles], dim=-1).reshape(-1, geometry.ROTATED)
