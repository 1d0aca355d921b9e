"""Points as priors: FCOS, arXiv 1904.01355, and its followers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from .base import PriorGenerator, flags_of_cells, shifts_of_cells


@TASK_UTILS.register_module()
class MlvlPointGenerator(PriorGenerator):
    """Generate one point at every cell of every pyramid level.

    Args:
        strides: Stride of each level in pixels, a number or (x, y).
        offset: Position of the point within its cell, 0 to 1.

    Examples:
        >>> MlvlPointGenerator([16]).grid_priors([(1, 2)], device='cpu')
        [tensor([[ 8.,  8.],
                [24.,  8.]])]
        >>> MlvlPointGenerator([16]).grid_priors([(1, 2)], device='cpu', with_stride=True)
        [tensor([[ 8.,  8., 16., 16.],
                [24.,  8., 16., 16.]])]
    """

    shown = ('strides', 'offset')

    def __init__(self, strides: Sequence[int | tuple[int, int]], offset: float = 0.5) -> None:
        self.set_strides(strides)
        self.offset = offset

    @property
    def num_base_priors(self) -> list[int]:
        """One point per cell, of each level."""
        return [1] * self.num_levels

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
        with_stride: bool = False,
    ) -> list[Tensor]:
        """Points of each level, as of ``single_level_grid_priors``."""
        points = super().grid_priors(featmap_sizes, dtype, device)
        return [self._with_stride(level, i) if with_stride else level for i, level in enumerate(points)]

    def _with_stride(self, points: Tensor, level_idx: int) -> Tensor:
        return torch.cat([points, points.new_tensor(self.strides[level_idx]).expand_as(points)], dim=-1)

    def single_level_valid_flags(
        self, featmap_size: tuple[int, int], valid_size: tuple[int, int], device: torch.device | str = 'cpu'
    ) -> Tensor:
        """A mask (H * W,) of the points of one level that lie at its first ``valid_size`` (height, width) cells."""
        return flags_of_cells(featmap_size, valid_size, 1, device)

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
        with_stride: bool = False,
    ) -> Tensor:
        """Points (H * W, 2) x, y of one level with a map of ``featmap_size`` (H, W), in pixels.

        With ``with_stride`` (H * W, 4), the strides x, y beside them.
        """
        points = shifts_of_cells(featmap_size, self.strides[level_idx], dtype, device, self.offset)
        return self._with_stride(points, level_idx) if with_stride else points
