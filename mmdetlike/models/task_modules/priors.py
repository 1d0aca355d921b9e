"""The types of boxes and of priors, the anchors or points at which dense heads predict."""

from dataclasses import dataclass

from torch import Tensor

from mmdetlike.structures.bbox import BaseBoxes, geometry

# plain rows of numbers, or boxes that know of which kind they are
Boxes = Tensor | BaseBoxes


@dataclass
class Priors:
    """The N priors of all pyramid levels, one level after another.

    All images of a batch share them, or each of the B images has its own (anchors that another head has moved); then
    ``points`` and ``boxes`` have a leading dimension B.

    Attributes:
        points: (N, 2) or (B, N, 2) x and y in pixels; the centers of anchors.
        strides: (N, 2) stride x and y of each prior's level, in pixels.
        level_ids: (N,) index of each prior's level.
        boxes: (N, 4) or (B, N, 4) anchors, xyxy in pixels, or rotated ones (..., 5); None where priors are points.
    """

    points: Tensor
    strides: Tensor
    level_ids: Tensor
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.level_ids)

    @property
    def are_shared(self) -> bool:
        """Whether all images of a batch have the same priors."""
        return self.points.dim() == 2

    @property
    def regions(self) -> Tensor:
        """The priors as assigners by overlap and samplers take them: anchors, or points where there are none."""
        return self.points if self.boxes is None else self.boxes

    def of_image(self, index: int) -> 'Priors':
        """The priors of one image of the batch."""
        if self.are_shared:
            return self
        boxes = None if self.boxes is None else self.boxes[index]
        return Priors(self.points[index], self.strides, self.level_ids, boxes)

    def __getitem__(self, inds: Tensor) -> 'Priors':
        """The priors ``inds`` (n,), of one image or of all."""
        boxes = None if self.boxes is None else self.boxes[inds]
        return Priors(self.points[inds], self.strides[inds], self.level_ids[inds], boxes)

    def of_batch(self, inds: Tensor) -> 'Priors':
        """The priors ``inds`` (n,), which count through all images: ``image * N + index``."""
        # strides and levels are the same in all images, points may differ
        rows = inds % len(self)
        if self.are_shared:
            return self[rows]
        boxes = None if self.boxes is None else self.boxes.flatten(0, 1)[inds]
        return Priors(self.points.flatten(0, 1)[inds], self.strides[rows], self.level_ids[rows], boxes)

    def moved_to(self, boxes: Tensor) -> 'Priors':
        """The same priors with other boxes, (N, 4) or of each image (B, N, 4), and their centers as points."""
        return Priors(geometry.centers(boxes), self.strides, self.level_ids, boxes)
