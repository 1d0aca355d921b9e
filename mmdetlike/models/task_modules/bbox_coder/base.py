"""The base of the box coders."""

from torch import Tensor

from mmdetlike.structures.bbox import BaseBoxes, geometry, get_box_tensor


class BaseBBoxCoder:
    """Base of the coders, which encode boxes as what a network regresses, and decode that to boxes.

    Attributes:
        encode_size: Numbers that encode a box.
        box_dim: Numbers of the boxes that are encoded and decoded: 4, or 5 for rotated ones.
        uses_points: Boxes are encoded against points (n, 2), not against boxes (n, 4 or 5).
    """

    encode_size = 4
    box_dim = geometry.HORIZONTAL
    uses_points = False

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """The regression targets at the priors ``bboxes`` (n, 4), or at points (n, 2), for ``gt_bboxes`` (n, 4)."""
        raise NotImplementedError

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, max_shape=None) -> Tensor:
        """Boxes (n, 4) xyxy in pixels from priors and predictions (n, ``encode_size``), clipped to ``max_shape``."""
        raise NotImplementedError

    def plain(self, boxes: Tensor | BaseBoxes, box_dim: int | None = None) -> Tensor:
        """The tensor of ``boxes``, which must have ``box_dim`` numbers each; those that this coder makes where None.

        Raises:
            ConfigError: They are of another kind; the message names the coder.
        """
        return geometry.require_kind(get_box_tensor(boxes), box_dim or self.box_dim, type(self).__name__)
