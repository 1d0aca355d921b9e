"""Flipping."""

from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.transforms.base import check_probability, image_size
from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox.transforms import check_direction
from mmdetlike.structures.warp import Warp


@TRANSFORMS.register_module()
class RandomFlip(GeometricTransform):
    """Mirror at random; records ``flip`` and ``flip_direction``.

    Keypoints of left and right are swapped by ``results['flip_indices']``, if present, when the image is mirrored
    once ('diagonal' mirrors twice, which is a rotation).

    Args:
        prob: Probability of flipping; shared equally by several directions unless it is a list with one each. None
            never flips.
        direction: 'horizontal' (left becomes right), 'vertical', 'diagonal' (both), or a list of them.

    Raises:
        ValueError: The probabilities don't fit the directions or sum to more than 1.
    """

    keeps_images = True

    def __init__(
        self, prob: float | Sequence[float] | None = None, direction: str | Sequence[str] = 'horizontal'
    ) -> None:
        self.prob = prob
        self.direction = direction
        self._directions = [direction] if isinstance(direction, str) else list(direction)
        for name in self._directions:
            check_direction(name)
        self._probabilities = self._share(prob or 0.0)

    def _share(self, prob: float | Sequence[float]) -> list[float]:
        count = len(self._directions)
        shares = [float(p) for p in prob] if isinstance(prob, Sequence) else [prob / count] * count
        if len(shares) != count:
            raise ValueError(f'There are {count} directions {self._directions}, but {len(shares)} probabilities.')
        for share in (*shares, round(sum(shares), 6)):  # rounded, as three times 1/3 may be more than 1
            check_probability(share, 'Each prob and their sum')
        return shares

    def draw(self, results: dict) -> Warp | None:
        drawn = np.random.uniform()
        index = int(np.searchsorted(np.cumsum(self._probabilities), drawn, side='right'))
        if index == len(self._directions):
            return None
        return Warp.flip(image_size(results), self._directions[index])

    def record(self, results: dict, warp: Warp | None) -> dict:
        results['flip'] = warp is not None
        results['flip_direction'] = warp.mode if warp is not None else None
        return results
