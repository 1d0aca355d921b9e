"""The base of all transforms that move pixels."""

from abc import abstractmethod

import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.instances import Edge, apply_warp
from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Warp


class GeometricTransform(BaseTransform):
    """Draw a `Warp` and apply it to everything in the sample.

    A subclass supplies `draw`, where all its randomness is, and sets ``edge`` if its warps move pixels into or out of
    the image.
    """

    edge = Edge()

    @abstractmethod
    def draw(self, results: dict) -> Warp | None:
        """Draw the warp for this sample; None leaves it as it is."""

    def keeps(self, boxes: BaseBoxes, warp: Warp) -> np.ndarray | None:
        """A mask (n,) bool of the warped boxes that stay; None for all."""
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
    """A mask (n,) bool of the boxes that are wider and higher than ``min_size`` pixels within the new image.

    Rotated boxes, which aren't cut to the image, must have their center in it.
    """
    is_inside = boxes.is_inside(warp.size)
    boxes = boxes.clone()
    boxes.clip_(warp.size)
    return (is_inside & (boxes.widths > min_size) & (boxes.heights > min_size)).numpy()
