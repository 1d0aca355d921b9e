"""Maps of an image one after the other, kept to be applied again or undone."""

from collections.abc import Iterable, Iterator

import numpy as np

from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.warp import Fill, Warp


class WarpList:
    """`Warp`s that are applied one after the other, as one map.

    ``inverse`` undoes them in reversed order, for masks and label maps, too; what was cut off stays lost. Lists are
    joined by ``+`` and ``+=``.

    Args:
        warps: From the first that is applied to the last.

    Raises:
        ValueError: A map is for an image of another size than the one before leaves.
    """

    def __init__(self, warps: Iterable[Warp] = ()) -> None:
        self.warps: list[Warp] = []
        self += warps

    def __iadd__(self, others: 'Iterable[Warp] | WarpList') -> 'WarpList':
        for warp in others:
            if self.warps and self.warps[-1].size != warp.source:
                raise ValueError(
                    f'WarpList: a map for images of (h, w) = {warp.source} cannot follow one that leaves '
                    f'{self.warps[-1].size}.'
                )
            self.warps.append(warp)
        return self

    def __add__(self, others: 'Iterable[Warp] | WarpList') -> 'WarpList':
        joined = WarpList(self.warps)
        joined += others
        return joined

    def __len__(self) -> int:
        return len(self.warps)

    def __getitem__(self, index: int) -> Warp:
        return self.warps[index]

    def __iter__(self) -> Iterator[Warp]:
        return iter(self.warps)

    @property
    def inverse(self) -> 'WarpList':
        """The maps back, the last one first."""
        return WarpList(warp.inverse for warp in reversed(self.warps))

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) from the first image to the last."""
        matrix = np.eye(3)
        for warp in self.warps:
            matrix = warp.matrix @ matrix
        return matrix

    def image(self, img: np.ndarray, fill: Fill = 0) -> np.ndarray:
        """See `Warp.image`."""
        for warp in self.warps:
            img = warp.image(img, fill)
        return img

    def label_map(self, seg: np.ndarray, fill: float = 255) -> np.ndarray:
        """See `Warp.label_map`; masks are mapped with ``fill=0``."""
        for warp in self.warps:
            seg = warp.label_map(seg, fill)
        return seg

    def points(self, xy: np.ndarray) -> np.ndarray:
        """See `Warp.points`."""
        for warp in self.warps:
            xy = warp.points(xy)
        return xy

    def boxes(self, boxes: BaseBoxes) -> BaseBoxes:
        """See `Warp.boxes`."""
        for warp in self.warps:
            boxes = warp.boxes(boxes)
        return boxes
