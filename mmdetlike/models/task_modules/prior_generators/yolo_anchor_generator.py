"""Anchors of YOLO, given by width and height: YOLOv3, arXiv 1804.02767."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .anchor_generator import AnchorGenerator


@TASK_UTILS.register_module()
class YOLOAnchorGenerator(AnchorGenerator):
    """Generate anchors of given widths and heights around the center of every cell.

    Args:
        strides, use_box_type: As of ``AnchorGenerator``.
        base_sizes: Width and height in pixels of the anchors of each level; one list a stride, else a ``ValueError``.

    Examples:
        >>> YOLOAnchorGenerator([8], [[(4, 2), (10, 6)]]).grid_priors([(1, 1)], device='cpu')
        [tensor([[ 2.,  3.,  6.,  5.],
                [-1.,  1.,  9.,  7.]])]
    """

    shown = ('strides', 'base_sizes')

    def __init__(
        self,
        strides: Sequence[int | tuple[int, int]],
        base_sizes: Sequence[Sequence[tuple[int, int]]],
        use_box_type: bool = False,
    ) -> None:
        self.set_strides(strides, base_sizes=base_sizes)
        self.centers = [(x / 2, y / 2) for x, y in self.strides]
        self.base_sizes = [[tuple(size) for size in level] for level in base_sizes]
        self.use_box_type = use_box_type
        self.base_anchors = self.gen_base_anchors()

    def gen_base_anchors(self) -> list[Tensor]:
        return [self.gen_single_level_base_anchors(*level) for level in zip(self.base_sizes, self.centers)]

    def gen_single_level_base_anchors(
        self, base_sizes_per_level: Sequence[tuple[int, int]], center: tuple[float, float] | None = None
    ) -> Tensor:
        """Anchors (A, 4) xyxy of the given widths and heights around ``center`` (x, y; the origin), in pixels."""
        half = torch.tensor(base_sizes_per_level, dtype=torch.float) / 2
        center = torch.tensor(center or (0.0, 0.0))
        return geometry.from_centers(center, half)

    def responsible_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], gt_bboxes: Tensor, device: torch.device | str = 'cpu'
    ) -> list[Tensor]:
        """For each level a mask (H_i * W_i * A_i,) uint8 of the anchors in whose cell the center of an object lies.

        Objects are ``gt_bboxes`` (m, 4 or 5) in pixels; a center beyond the map counts for its last cell. See
        ``grid_priors`` for the other arguments and for what is raised.
        """
        self.check_levels(featmap_sizes)
        return [
            self.single_level_responsible_flags(size, gt_bboxes, stride, num_base, device)
            for size, stride, num_base in zip(featmap_sizes, self.strides, self.num_base_priors)
        ]

    def single_level_responsible_flags(
        self,
        featmap_size: tuple[int, int],
        gt_bboxes: Tensor,
        stride: tuple[int, int],
        num_base_anchors: int,
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """The mask (H * W * A,) of ``responsible_flags`` for one level with a map (H, W) and a stride (x, y)."""
        height, width = featmap_size
        centers = geometry.centers(gt_bboxes).to(device)
        # an object may reach beyond the image, so that its center is off the map
        x, y = torch.floor(centers / centers.new_tensor(stride)).long().unbind(1)
        cells = torch.zeros(height, width, dtype=torch.uint8, device=device)
        cells[y.clamp(0, height - 1), x.clamp(0, width - 1)] = 1
        return cells.flatten().repeat_interleave(num_base_anchors)
