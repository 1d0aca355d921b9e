"""The base of the box coders, and the coder of heads that predict boxes as they are."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, geometry, get_box_tensor

from ..priors import Boxes


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

    def plain(self, boxes: Boxes, box_dim: int | None = None) -> Tensor:
        """The tensor of ``boxes``, of ``box_dim`` numbers each, those that this coder makes where None.

        A ``ConfigError`` names the coder where they are of another kind.
        """
        return geometry.require_kind(get_box_tensor(boxes), box_dim or self.box_dim, type(self).__name__)


@TASK_UTILS.register_module()
class PseudoBBoxCoder(BaseBBoxCoder):
    """Leave boxes (..., 4) as they are, in both directions, whatever the priors.

    Args:
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.
    """

    def __init__(self, use_box_type: bool = False) -> None:
        self.use_box_type = use_box_type

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> Tensor:
        return self.plain(gt_bboxes)

    def decode(self, bboxes: Boxes, pred_bboxes: Boxes) -> Boxes:
        boxes = self.plain(pred_bboxes)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes
