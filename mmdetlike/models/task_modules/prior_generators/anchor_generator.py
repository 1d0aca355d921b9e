"""Anchors: Faster R-CNN, arXiv 1506.01497; octave scales: Focal Loss for Dense Object Detection, arXiv 1708.02002."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes, geometry

from .base import PriorGenerator, flags_of_cells, shifts_of_cells


@TASK_UTILS.register_module()
class AnchorGenerator(PriorGenerator):
    """Generate anchors of the same scales and ratios around every cell of every pyramid level.

    The anchors of one cell are ordered by ratio, then by scale (``scale_major``), the cells row by row.

    Args:
        strides: Stride of each level in pixels, a number or (x, y).
        ratios: Height / width of the anchors.
        scales: Sizes in multiples of ``base_sizes``; or give ``octave_base_scale`` and ``scales_per_octave``.
        base_sizes: Side of the unit anchor of each level in pixels; its stride where None.
        scale_major: Order the anchors of a cell by ratio first; by scale first where False.
        octave_base_scale: Smallest scale, multiplied by ``2 ** (i / scales_per_octave)``.
        scales_per_octave: Scales in an octave.
        centers: Center (x, y) of each level's first cell; ``center_offset * stride`` where None.
        center_offset: Position of the center within the cell, 0 to 1.
        use_box_type: Return ``HorizontalBoxes`` in place of tensors.

    Raises:
        ValueError: The settings contradict each other.

    Examples:
        >>> AnchorGenerator([16], [1.], [1.], [9]).grid_priors([(2, 2)], device='cpu')
        [tensor([[-4.5000, -4.5000,  4.5000,  4.5000],
                [11.5000, -4.5000, 20.5000,  4.5000],
                [-4.5000, 11.5000,  4.5000, 20.5000],
                [11.5000, 11.5000, 20.5000, 20.5000]])]
    """

    shown = ('strides', 'ratios', 'scales', 'base_sizes', 'centers', 'center_offset')

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
    ) -> None:
        if not 0 <= center_offset <= 1 or (center_offset and centers is not None):
            raise ValueError(f'center_offset must be in [0, 1], and 0 where centers are given; got {center_offset}')
        self.set_strides(strides, base_sizes=base_sizes, centers=centers)
        self.base_sizes = [min(stride) for stride in self.strides] if base_sizes is None else list(base_sizes)
        self.scales = self._resolve_scales(scales, octave_base_scale, scales_per_octave)
        self.octave_base_scale, self.scales_per_octave = octave_base_scale, scales_per_octave
        self.ratios = torch.tensor(ratios, dtype=torch.float)
        for name, values in (('ratios', self.ratios), ('scales', self.scales)):
            # built on torch's device 'meta', there are no values to look at
            if len(values) == 0 or not (values.is_meta or (values > 0).all()):
                raise ValueError(f'{name} must be positive numbers, one at least, got {values.tolist()}')
        self.scale_major, self.centers, self.center_offset = scale_major, centers, center_offset
        self.use_box_type = use_box_type
        self.base_anchors = self.gen_base_anchors()

    @staticmethod
    def _resolve_scales(scales, octave_base_scale, scales_per_octave) -> Tensor:
        octave = octave_base_scale is not None and scales_per_octave is not None
        if octave == (scales is not None):
            raise ValueError(
                'give either scales or both octave_base_scale and scales_per_octave; got '
                f'scales={scales}, octave_base_scale={octave_base_scale}, scales_per_octave={scales_per_octave}'
            )
        if not octave:
            return torch.tensor(scales, dtype=torch.float)
        return octave_base_scale * 2.0 ** (torch.arange(scales_per_octave, dtype=torch.float) / scales_per_octave)

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per cell, of each level."""
        return [len(anchors) for anchors in self.base_anchors]

    num_base_anchors = num_base_priors

    def gen_base_anchors(self) -> list[Tensor]:
        """Anchors (A_i, 4) xyxy of the first cell of each level, in pixels."""
        levels = zip(self.base_sizes, self.centers or [None] * self.num_levels)
        return [self.gen_single_level_base_anchors(size, self.scales, self.ratios, center) for size, center in levels]

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: tuple[float, float] | None = None
    ) -> Tensor:
        """Anchors (len(ratios) * len(scales), 4) xyxy of one cell, in pixels."""
        # all ratios have the same area
        shapes = torch.stack([1 / ratios.sqrt(), ratios.sqrt()], dim=-1)[:, None] * scales[:, None]
        shapes = shapes if self.scale_major else shapes.transpose(0, 1)
        half = base_size * shapes.flatten(0, 1) / 2
        center = (self.center_offset * base_size,) * 2 if center is None else center
        return geometry.from_centers(half.new_tensor(center), half)

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> Tensor | HorizontalBoxes:
        base = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        stride = self.strides[level_idx]
        return self.as_boxes(self.single_level_grid_anchors(base, featmap_size, stride, device))

    def as_boxes(self, anchors: Tensor) -> Tensor | BaseBoxes:
        """Anchors (n, 4) in the form in which they are returned."""
        return HorizontalBoxes(anchors) if self.use_box_type else anchors

    def grid_anchors(
        self, featmap_sizes: Sequence[tuple[int, int]], device: torch.device | str = 'cpu'
    ) -> list[Tensor | HorizontalBoxes]:
        """The older name of ``grid_priors``, in float32."""
        return self.grid_priors(featmap_sizes, device=device)

    def single_level_grid_anchors(
        self,
        base_anchors: Tensor,
        featmap_size: tuple[int, int],
        stride: tuple[int, int] = (16, 16),
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """Anchors (H * W * A, 4 or 5): ``base_anchors`` (A, 4 or 5), moved to every cell of a map (H, W)."""
        shifts = shifts_of_cells(featmap_size, stride, base_anchors.dtype, device)
        # both corners of an anchor move, or the center of a rotated one, whose sides and angle stay
        is_rotated = base_anchors.shape[-1] == geometry.ROTATED
        shifts = F.pad(shifts, (0, 3)) if is_rotated else shifts.repeat(1, 2)
        return (shifts[:, None] + base_anchors.to(device)).reshape(-1, base_anchors.shape[-1])

    single_level_valid_flags = staticmethod(flags_of_cells)


@TASK_UTILS.register_module()
class SizedAnchorGenerator(AnchorGenerator):
    """Generate anchors of sizes that are written down in pixels, level by level, as Detectron2 and torchvision do.

    Args:
        strides, center_offset: As of ``AnchorGenerator``.
        sizes: For each level the roots of its anchors' areas, in pixels; a ``ValueError`` if not one list a level.
        ratios: For each level the heights / widths; a ``ValueError`` if not one list a level.
        rounded: Round the corners of the first cell's anchors to whole pixels, halves to even numbers.
        scale_major, use_box_type: As of ``AnchorGenerator``.

    Examples:
        >>> SizedAnchorGenerator([8], [[16]], [[1.0]]).base_anchors
        [tensor([[-8., -8.,  8.,  8.]])]
    """

    def __init__(
        self,
        strides: Sequence[float | tuple[float, float]],
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[Sequence[float]],
        center_offset: float = 0.0,
        rounded: bool = False,
        scale_major: bool = True,
        use_box_type: bool = False,
    ) -> None:
        self.set_strides(strides, sizes=sizes, ratios=ratios)
        self.base_sizes = [1.0] * self.num_levels
        self.scales = [torch.tensor(level, dtype=torch.float) for level in sizes]
        self.ratios = [torch.tensor(level, dtype=torch.float) for level in ratios]
        self.center_offset, self.rounded = center_offset, rounded
        self.centers = [(x * center_offset, y * center_offset) for x, y in self.strides]
        self.scale_major, self.use_box_type = scale_major, use_box_type
        self.base_anchors = self.gen_base_anchors()

    def gen_base_anchors(self) -> list[Tensor]:
        levels = zip(self.base_sizes, self.scales, self.ratios, self.centers)
        anchors = [self.gen_single_level_base_anchors(*level) for level in levels]
        return [level.round() for level in anchors] if self.rounded else anchors
