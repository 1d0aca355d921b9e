"""The base of all transforms that move pixels."""

from abc import abstractmethod

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.instances import Edge, apply_warp
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Warp


class GeometricTransform(BaseTransform):
    """Draws a `Warp`, by which everything in the sample then moves.

    A subclass supplies `draw`, where all its randomness is, and sets ``edge`` if its warps reach over the edge.
    """

    edge = Edge()

    @abstractmethod
    def draw(self, results: dict) -> Warp | None:
        """The warp for this sample, or None to leave it as it is."""

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray | None:
        """Which of the warped boxes stay, (n,) bool; None for all."""
        return None

    def record(self, results: dict, warp: Warp | None) -> dict | None:
        """Note in ``results`` what was done; return it, or None to give the sample up."""
        return results

    def transform(self, results: dict) -> dict | None:
        warp = self.draw(results)
        if warp is not None:
            apply_warp(results, warp, self.edge, self.keeps)
        return self.record(results, warp)


def visible(boxes: BaseBoxes, warp: Warp, min_size: float = 0) -> np.ndarray:
    """Which boxes are wider and higher than ``min_size`` pixels within the new image.

    Rotated boxes, which aren't cut to the image, must have their center in it.
    """
    is_inside = boxes.is_inside(warp.size)
    boxes = boxes.clone()
    boxes.clip_(warp.size)
    return (is_inside & (boxes.widths > min_size) & (boxes.heights > min_size)).numpy()
