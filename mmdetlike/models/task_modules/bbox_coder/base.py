"""What bbox coders share."""

from torch import Tensor


class BaseBBoxCoder:
    """Base of the coders, which turn boxes into what a network regresses, and back.

    Attributes:
        encode_size: Numbers that encode a box.
        uses_points: Boxes are encoded against points (n, 2), not against boxes (n, 4).
    """

    encode_size = 4
    uses_points = False

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """What should be regressed at the priors ``bboxes`` (n, 4), or at points (n, 2), for ``gt_bboxes`` (n, 4)."""
        raise NotImplementedError

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, max_shape=None) -> Tensor:
        """Boxes (n, 4) xyxy in pixels from priors and predictions (n, ``encode_size``), clipped to ``max_shape``."""
        raise NotImplementedError
