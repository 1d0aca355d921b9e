"""Anchors of the toolbox's first version, in which a box from pixel 0 to pixel 8 was 9 pixels wide."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from .anchor_generator import AnchorGenerator
from .ssd_anchor_generator import SSDAnchorGenerator


@TASK_UTILS.register_module()
class LegacyAnchorGenerator(AnchorGenerator):
    """Anchors for checkpoints of the toolbox's first version: one pixel less wide and high, at whole pixels.

    Examples:
        >>> LegacyAnchorGenerator([16], [1.], [1.], [9], center_offset=0.5).grid_priors([(2, 2)], device='cpu')
        [tensor([[ 0.,  0.,  8.,  8.],
                [16.,  0., 24.,  8.],
                [ 0., 16.,  8., 24.],
                [16., 16., 24., 24.]])]
    """

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: tuple[float, float] | None = None
    ) -> Tensor:
        """Anchors (len(ratios) * len(scales), 4) xyxy of one cell, in whole pixels."""
        if center is None:
            center = (self.center_offset * (base_size - 1),) * 2
        anchors = super().gen_single_level_base_anchors(base_size, scales, ratios, center)
        # half a pixel less on each side: from the middle of the first to the middle of the last pixel
        return (anchors + anchors.new_tensor([0.5, 0.5, -0.5, -0.5])).round()


@TASK_UTILS.register_module()
class LegacySSDAnchorGenerator(SSDAnchorGenerator, LegacyAnchorGenerator):
    """SSD anchors for checkpoints of the toolbox's first version; arguments are those of ``SSDAnchorGenerator``."""

    def first_centers(self) -> list[tuple[float, float]]:
        return [((x - 1) / 2, (y - 1) / 2) for x, y in self.strides]
