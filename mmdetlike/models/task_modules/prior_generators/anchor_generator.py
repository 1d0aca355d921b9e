"""Anchors: Faster R-CNN, arXiv 1506.01497; octave scales: Focal Loss for Dense Object Detection, arXiv 1708.02002."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes


@TASK_UTILS.register_module()
class AnchorGenerator:
    """Boxes of set scales and ratios around every cell of every pyramid level.

    The anchors of one cell are ordered by ratio, then by scale (``scale_major``), the cells row by row.

    Args:
        strides: Stride of each level in pixels, a number or (x, y).
        ratios: Height / width of the anchors.
        scales: Sizes in multiples of ``base_sizes``; or give the next but one pair.
        base_sizes: Side of the unit anchor of each level in pixels; its stride where None.
        scale_major: Order the anchors of a cell by ratio first; by scale first where False.
        octave_base_scale: Smallest scale, multiplied by ``2 ** (i / scales_per_octave)``.
        scales_per_octave: Scales in an octave.
        centers: Centre (x, y) of each level's first cell; ``center_offset * stride`` where None.
        center_offset: Place of the centre within the cell, 0 to 1.
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
        self.strides = [_pair(stride) for stride in strides]
        self.base_sizes = [min(stride) for stride in self.strides] if base_sizes is None else list(base_sizes)
        for name, values in (('base_sizes', self.base_sizes), ('centers', centers)):
            if values is not None and len(values) != len(self.strides):
                raise ValueError(f'{name} must have one entry a stride ({len(self.strides)}), got {len(values)}')
        self.scales = self._resolve_scales(scales, octave_base_scale, scales_per_octave)
        self.octave_base_scale, self.scales_per_octave = octave_base_scale, scales_per_octave
        self.ratios = torch.tensor(ratios, dtype=torch.float)
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

    @property
    def num_levels(self) -> int:
        """Number of pyramid levels."""
        return len(self.strides)

    def gen_base_anchors(self) -> list[Tensor]:
        """Anchors (A_i, 4) xyxy of the first cell of each level, in pixels."""
        anchors = []
        for i, base_size in enumerate(self.base_sizes):
            center = None if self.centers is None else self.centers[i]
            anchors.append(self.gen_single_level_base_anchors(base_size, self.scales, self.ratios, center))
        return anchors

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: tuple[float, float] | None = None
    ) -> Tensor:
        """Anchors (len(ratios) * len(scales), 4) xyxy of one cell, in pixels."""
        x, y = center if center is not None else (self.center_offset * base_size,) * 2
        heights, widths = torch.sqrt(ratios), 1 / torch.sqrt(ratios)
        if self.scale_major:
            widths, heights = widths[:, None] * scales, heights[:, None] * scales
        else:
            widths, heights = scales[:, None] * widths, scales[:, None] * heights
        half_w, half_h = base_size * widths.flatten() / 2, base_size * heights.flatten() / 2
        return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], dim=-1)

    def grid_priors(
        self, featmap_sizes: Sequence[tuple[int, int]], dtype: torch.dtype = torch.float32, device='cuda'
    ) -> list[Tensor | HorizontalBoxes]:
        """Anchors (H_i * W_i * A_i, 4) xyxy of each level.

        Args:
            featmap_sizes: Height and width of each level's map.
            dtype: Type of the anchors.
            device: Where they are put.

        Raises:
            ValueError: The number of maps differs from ``num_levels``.
        """
        self._check_levels(featmap_sizes)
        return [self.single_level_grid_priors(s, i, dtype, device) for i, s in enumerate(featmap_sizes)]

    def single_level_grid_priors(
        self, featmap_size: tuple[int, int], level_idx: int, dtype: torch.dtype = torch.float32, device='cuda'
    ) -> Tensor | HorizontalBoxes:
        """Anchors (H * W * A, 4) xyxy of one level with a map of ``featmap_size`` (H, W)."""
        height, width = featmap_size
        stride_w, stride_h = self.strides[level_idx]
        base = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        x = torch.arange(width, device=device).to(dtype) * stride_w
        y = torch.arange(height, device=device).to(dtype) * stride_h
        shift_y, shift_x = torch.meshgrid(y, x, indexing='ij')
        shifts = torch.stack([shift_x, shift_y, shift_x, shift_y], dim=-1).reshape(-1, 1, 4)
        anchors = (shifts + base).reshape(-1, 4)
        return HorizontalBoxes(anchors) if self.use_box_type else anchors

    def sparse_priors(
        self,
        prior_idxs: Tensor,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device='cuda',
    ) -> Tensor:
        """Only the anchors (n, 4) of one level whose places in ``grid_priors`` are ``prior_idxs`` (n,)."""
        width, num_base = featmap_size[1], self.num_base_priors[level_idx]
        stride_w, stride_h = self.strides[level_idx]
        cell = torch.div(prior_idxs, num_base, rounding_mode='floor')
        x, y = (cell % width) * stride_w, torch.div(cell, width, rounding_mode='floor') * stride_h
        shifts = torch.stack([x, y, x, y], dim=-1).to(device=device, dtype=dtype)
        return shifts + self.base_anchors[level_idx].to(device=device, dtype=dtype)[prior_idxs % num_base]

    def valid_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], pad_shape: tuple[int, ...], device='cuda'
    ) -> list[Tensor]:
        """For each level a mask (H_i * W_i * A_i,) of the anchors whose cell lies within ``pad_shape`` (h, w)."""
        self._check_levels(featmap_sizes)
        flags = []
        for (height, width), (stride_w, stride_h), num_base in zip(featmap_sizes, self.strides, self.num_base_priors):
            valid = (min(-(-pad_shape[0] // stride_h), height), min(-(-pad_shape[1] // stride_w), width))
            flags.append(self.single_level_valid_flags((height, width), valid, num_base, device))
        return flags

    def single_level_valid_flags(
        self, featmap_size: tuple[int, int], valid_size: tuple[int, int], num_base_anchors: int, device='cuda'
    ) -> Tensor:
        """Mask (H * W * A,) of the anchors in the upper left ``valid_size`` cells of a map of ``featmap_size``."""
        height, width = featmap_size
        valid = torch.zeros(height, width, dtype=torch.bool, device=device)
        valid[: valid_size[0], : valid_size[1]] = True
        return valid.reshape(-1, 1).expand(-1, num_base_anchors).reshape(-1)

    def _check_levels(self, featmap_sizes: Sequence) -> None:
        if len(featmap_sizes) != self.num_levels:
            raise ValueError(f'{self.num_levels} strides need as many feature maps, got {len(featmap_sizes)}')

    def __repr__(self) -> str:
        settings = dict(
            strides=self.strides,
            ratios=self.ratios.tolist(),
            scales=self.scales.tolist(),
            base_sizes=self.base_sizes,
            centers=self.centers,
            center_offset=self.center_offset,
        )
        return f'{type(self).__name__}({", ".join(f"{k}={v}" for k, v in settings.items())})'
