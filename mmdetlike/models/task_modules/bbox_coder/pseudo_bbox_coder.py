"""The coder of heads that predict boxes as they are."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes

from .base import BaseBBoxCoder


@TASK_UTILS.register_module()
class PseudoBBoxCoder(BaseBBoxCoder):
    """Leave boxes as they are, in both directions.

    Args:
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.
    """

    def __init__(self, use_box_type: bool = False) -> None:
        self.use_box_type = use_box_type

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        """The boxes ``gt_bboxes`` (n, 4) themselves; priors ``bboxes`` do not matter."""
        return self.plain(gt_bboxes)

    def decode(
        self, bboxes: Tensor | HorizontalBoxes, pred_bboxes: Tensor | HorizontalBoxes
    ) -> Tensor | HorizontalBoxes:
        """The predictions ``pred_bboxes`` (..., 4) themselves; priors ``bboxes`` do not matter."""
        boxes = self.plain(pred_bboxes)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes
