"""Anchors of SSD: Single Shot MultiBox Detector, arXiv 1512.02325."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry

from .anchor_generator import AnchorGenerator

# anchors of the finest level in percent of the image, by input size and smallest ratio of the other levels
_FIRST_LEVEL_PERCENT = {(300, 0.15): (7, 15), (300, 0.2): (10, 20), (512, 0.1): (4, 10), (512, 0.15): (7, 15)}


@TASK_UTILS.register_module()
class SSDAnchorGenerator(AnchorGenerator):
    """Generate the anchors of SSD, of which each level has ratios, a smallest and a largest size of its own.

    A cell has, in this order: a square of the level's smallest size, a square of the geometric mean of smallest and
    largest size, and for each ratio r of the level boxes of height / width 1 / r and r at the smallest size.

    Args:
        strides, use_box_type: As of ``AnchorGenerator``.
        ratios: Ratios of each level, besides 1 and the inverses.
        min_sizes: Smallest anchor of each level in pixels, together with ``max_sizes``; None to derive both from
            ``basesize_ratio_range`` and ``input_size``.
        max_sizes: Largest size of each level in pixels.
        basesize_ratio_range: Smallest and largest size as a share of the image, spread over all levels but the finest.
        input_size: Side of the image in pixels, 300 or 512 where sizes are derived.
        scale_major: See ``AnchorGenerator``; configs of SSD say False, for which the order above holds.
        largest_side: Anchors are no wider and no higher than so many pixels; None for no limit.

    Raises:
        ValueError: The settings contradict each other or ask for sizes that the paper does not define.
    """

    def __init__(
        self,
        strides: Sequence[int | tuple[int, int]],
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: tuple[float, float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = True,
        use_box_type: bool = False,
        largest_side: float | None = None,
    ) -> None:
        if (min_sizes is None) != (max_sizes is None):
            raise ValueError(f'give both min_sizes and max_sizes or neither, got {min_sizes} and {max_sizes}')
        self.set_strides(strides, ratios=ratios, min_sizes=min_sizes, max_sizes=max_sizes)
        if min_sizes is None:
            min_sizes, max_sizes = _sizes_of_levels(self.num_levels, basesize_ratio_range, input_size)
        self.base_sizes = list(min_sizes)
        self.scales = [torch.tensor([1.0, math.sqrt(high / low)]) for low, high in zip(min_sizes, max_sizes)]
        self.ratios = [torch.tensor([1.0, *(x for r in level for x in (1 / r, r))]) for level in ratios]
        self.centers = self.first_centers()
        self.center_offset = 0.0
        self.scale_major, self.use_box_type = scale_major, use_box_type
        self.largest_side = largest_side
        self.base_anchors = self.gen_base_anchors()

    def first_centers(self) -> list[tuple[float, float]]:
        """Center (x, y) of each level's first cell, in pixels."""
        return [(x / 2, y / 2) for x, y in self.strides]

    def gen_base_anchors(self) -> list[Tensor]:
        levels = zip(self.base_sizes, self.scales, self.ratios, self.centers)
        return [self._cell(self.gen_single_level_base_anchors(*level), len(level[2])) for level in levels]

    def _cell(self, every_pair: Tensor, num_ratios: int) -> Tensor:
        """Anchors of a cell: of those of all pairs of scale and ratio the ones of the first scale and both squares."""
        # the larger square is the second anchor, as in the original, whose checkpoints have this order
        anchors = every_pair[[0, num_ratios, *range(1, num_ratios)]]
        if self.largest_side is None:
            return anchors
        half = geometry.sizes(anchors).clamp(max=self.largest_side) / 2
        return geometry.from_centers(geometry.centers(anchors), half)


def _sizes_of_levels(num_levels: int, ratio_range: tuple[float, float], input_size: int) -> tuple[list, list]:
    """Smallest and largest size of each level in pixels, derived as in section 2.2 of the paper."""
    first = _FIRST_LEVEL_PERCENT.get((input_size, ratio_range[0]))
    if first is None:
        raise ValueError(
            'SSD defines sizes for (input_size, basesize_ratio_range[0]) in '
            f'{sorted(_FIRST_LEVEL_PERCENT)}, got {(input_size, ratio_range[0])}; give min_sizes and max_sizes'
        )
    if num_levels < 3:
        raise ValueError(f'sizes are derived for 3 strides or more, got {num_levels}; give min_sizes and max_sizes')
    low, high = (int(ratio * 100) for ratio in ratio_range)
    # whole percents and whole pixels, as the original computes them
    step = (high - low) // (num_levels - 2)
    percents = [(low + i * step, low + (i + 1) * step) for i in range(num_levels - 1)]
    sizes = [tuple(int(input_size * p / 100) for p in pair) for pair in (first, *percents)]
    return [low for low, _ in sizes], [high for _, high in sizes]
