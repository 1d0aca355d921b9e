"""Anchors whose sizes are written down in pixels, level by level, as Detectron2 and torchvision have them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from .anchor_generator import AnchorGenerator


@TASK_UTILS.register_module()
class SizedAnchorGenerator(AnchorGenerator):
    """Generate anchors of the sizes and ratios of their level around every cell.

    Args:
        strides, center_offset: As of ``AnchorGenerator``.
        sizes: For each level the square roots of its anchors' areas, in pixels.
        ratios: For each level the heights / widths.
        rounded: Round the corners of the first cell's anchors to whole pixels, halves to even numbers.
        scale_major, use_box_type: As of ``AnchorGenerator``.

    Raises:
        ValueError: There is not one list of sizes and of ratios for each level.

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
