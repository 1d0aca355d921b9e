"""The base of the prior generators, that of points, and which cells of a grid and which anchors lie on the image."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, geometry, get_box_tensor

from ..priors import Priors


class PriorGenerator:
    """Base of the generators of priors, which lie at every cell of every pyramid level.

    A subclass sets ``strides``, a pair (x, y) in pixels a level, and says ``num_base_priors`` and what the priors of
    one level are.

    Attributes:
        shown: Names of the settings that its representation shows.
    """

    strides: list[tuple[int, int]]
    shown: tuple[str, ...] = ('strides',)

    def set_strides(self, strides: Sequence[int | tuple[int, int]], **settings: Sequence | None) -> None:
        """Keep the strides; raise ``ValueError`` unless each of ``settings`` that is given has one entry a stride."""
        self.strides = [tuple(_pair(stride)) for stride in strides]
        for name, values in settings.items():
            if values is not None and len(values) != self.num_levels:
                raise ValueError(f'{name} must have one entry a stride ({self.num_levels}), got {len(values)}')

    @property
    def num_levels(self) -> int:
        """Number of pyramid levels."""
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Priors per cell, of each level."""
        raise NotImplementedError

    def priors(self, featmap_sizes: Sequence[tuple[int, int]], device: torch.device | str) -> Priors:
        """The priors of all levels, whose maps have ``featmap_sizes`` (height, width); see ``grid_priors``."""
        levels = [get_box_tensor(level) for level in self.grid_priors(featmap_sizes, device=device)]
        level_ids = torch.cat([torch.full((level.shape[0],), i, device=device) for i, level in enumerate(levels)])
        values = torch.cat(levels)
        strides = values.new_tensor(self.strides)[level_ids]
        if values.shape[-1] == 2:
            return Priors(values, strides, level_ids)
        return Priors(geometry.centers(values), strides, level_ids, values)

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> list[Tensor | HorizontalBoxes]:
        """Priors (H_i * W_i * A_i, 4, 5 or 2) of each level, in pixels, cell by cell.

        Args:
            featmap_sizes: Height and width of each level's map.
            dtype: Type of the priors.
            device: Where they are put.

        Raises:
            ValueError: The number of maps differs from ``num_levels``.
        """
        self.check_levels(featmap_sizes)
        return [self.single_level_grid_priors(size, i, dtype, device=device) for i, size in enumerate(featmap_sizes)]

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> Tensor | HorizontalBoxes:
        """Priors (H * W * A, 4 or 2) of one level with a map of ``featmap_size`` (H, W)."""
        raise NotImplementedError

    def sparse_priors(
        self,
        prior_idxs: Tensor,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> Tensor | HorizontalBoxes:
        """The priors (n, 4 or 2) of one level with the indices ``prior_idxs`` (n,) in its grid."""
        return self.single_level_grid_priors(featmap_size, level_idx, dtype, device=device)[prior_idxs]

    def valid_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], pad_shape: tuple[int, ...], device: torch.device | str = 'cpu'
    ) -> list[Tensor]:
        """For each level a mask (H_i * W_i * A_i,) of the priors whose cell lies within ``pad_shape`` (h, w)."""
        self.check_levels(featmap_sizes)
        flags = []
        for size, (stride_w, stride_h), num_base in zip(featmap_sizes, self.strides, self.num_base_priors):
            # rounded up: a cell that is partly on the image counts
            valid_size = (-(-pad_shape[0] // stride_h), -(-pad_shape[1] // stride_w))
            flags.append(flags_of_cells(size, valid_size, num_base, device))
        return flags

    def __repr__(self) -> str:
        settings = ', '.join(f'{name}={_as_lists(getattr(self, name))}' for name in self.shown)
        return f'{type(self).__name__}({settings})'

    def check_levels(self, featmap_sizes: Sequence) -> None:
        """Raise ``ValueError`` where the number of maps differs from ``num_levels``."""
        if len(featmap_sizes) != self.num_levels:
            raise ValueError(f'{self.num_levels} strides need as many feature maps, got {len(featmap_sizes)}')


@TASK_UTILS.register_module()
class MlvlPointGenerator(PriorGenerator):
    """Generate one point at every cell of every pyramid level: FCOS, arXiv 1904.01355, and its followers.

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


def _as_lists(setting: object) -> object:
    """A setting with lists in place of its tensors."""
    if isinstance(setting, list):
        return [_as_lists(level) for level in setting]
    return setting.tolist() if isinstance(setting, Tensor) else setting


def shifts_of_cells(
    featmap_size: tuple[int, int],
    stride: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device | str,
    offset: float = 0.0,
) -> Tensor:
    """Position (H * W, 2) x, y of each cell of a map (H, W), row by row: ``(cell + offset) * stride`` in pixels."""
    height, width = featmap_size
    stride_w, stride_h = stride
    # the product is taken in float32 or better: half precision does not count beyond 2048
    x = ((torch.arange(width, device=device) + offset) * stride_w).to(dtype)
    y = ((torch.arange(height, device=device) + offset) * stride_h).to(dtype)
    shift_y, shift_x = torch.meshgrid(y, x, indexing='ij')
    return torch.stack([shift_x, shift_y], dim=-1).reshape(-1, 2)


def flags_of_cells(
    featmap_size: tuple[int, int],
    valid_size: tuple[int, int],
    num_base_anchors: int,
    device: torch.device | str = 'cpu',
) -> Tensor:
    """A mask (H * W * A,) of the priors of one level, true for the first ``valid_size`` (height, width) cells."""
    valid = torch.zeros(featmap_size, dtype=torch.bool, device=device)
    valid[: valid_size[0], : valid_size[1]] = True
    return valid.flatten().repeat_interleave(num_base_anchors)


def anchor_inside_flags(flat_anchors: Tensor, valid_flags: Tensor, img_shape, allowed_border: int = 0) -> Tensor:
    """Mark the anchors (N,) that are valid and leave the image by at most ``allowed_border`` pixels.

    Args:
        flat_anchors: (N, 4) xyxy in pixels, or rotated ones (N, 5), which count as their enclosing boxes.
        valid_flags: (N,) bool, False for anchors on padding.
        img_shape: Height and width of the image in pixels.
        allowed_border: Negative for any number of pixels.
    """
    if allowed_border < 0:
        return valid_flags
    height, width = img_shape[:2]
    x1, y1, x2, y2 = geometry.to_horizontal(flat_anchors).unbind(-1)
    inside = (x1 >= -allowed_border) & (y1 >= -allowed_border)
    return valid_flags & inside & (x2 < width + allowed_border) & (y2 < height + allowed_border)


def calc_region(
    bbox: Tensor, ratio: float, featmap_size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The boxes with the centers of ``bbox`` (..., 4) xyxy and sides ``ratio`` times as long, cut to ``featmap_size``.

    Returns x1, y1, x2 and y2, each rounded to whole numbers.

    Examples:
        >>> calc_region(torch.tensor([0.0, 0, 40, 80]), 0.5, featmap_size=(50, 50))
        (tensor(10), tensor(20), tensor(30), tensor(50))
    """
    region = geometry.resized(bbox, ratio).round()
    if featmap_size is not None:
        region = geometry.clip(region, featmap_size)
    return region.long().unbind(-1)


def images_to_levels(target: Sequence[Tensor], num_levels: Sequence[int]) -> list[Tensor]:
    """Targets (N, ...) of each image -> targets (B, N_i, ...) of each level, which has ``num_levels[i]`` of the N."""
    return list(torch.stack(list(target)).split(list(num_levels), dim=1))
