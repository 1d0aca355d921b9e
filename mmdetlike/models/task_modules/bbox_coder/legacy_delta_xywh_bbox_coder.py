"""Deltas of the toolbox's first version, in which a box from pixel 0 to pixel 8 was 9 pixels wide."""

from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, get_box_tensor

from .delta_xywh_bbox_coder import Stats, bbox2delta, delta2bbox


@TASK_UTILS.register_module()
class LegacyDeltaXYWHBBoxCoder:
    """``DeltaXYWHBBoxCoder`` for checkpoints of the toolbox's first version: sides count one pixel more.

    A decoded box is not made smaller again by that pixel, which those checkpoints have been found to be better with.

    Args:
        target_means: Means subtracted from the deltas.
        target_stds: Deviations by which they are divided.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.

    Examples:
        >>> rois = torch.tensor([[0., 0., 1., 1.], [0., 0., 1., 1.], [0., 0., 1., 1.], [5., 5., 5., 5.]])
        >>> deltas = torch.tensor([[0., 0., 0., 0.], [1., 1., 1., 1.], [0., 0., 2., -1.], [0.7, -1.9, -0.5, 0.3]])
        >>> LegacyDeltaXYWHBBoxCoder().decode(rois, deltas, max_shape=(32, 32))
        tensor([[0.0000, 0.0000, 1.5000, 1.5000],
                [0.0000, 0.0000, 5.2183, 5.2183],
                [0.0000, 0.1321, 7.8891, 0.8679],
                [5.3967, 2.4251, 6.0033, 3.7749]])
    """

    encode_size = 4

    def __init__(
        self,
        target_means: Stats = (0.0, 0.0, 0.0, 0.0),
        target_stds: Stats = (1.0, 1.0, 1.0, 1.0),
        use_box_type: bool = False,
    ) -> None:
        self.means, self.stds, self.use_box_type = tuple(target_means), tuple(target_stds), use_box_type

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        """Deltas (n, 4) from priors ``bboxes`` (n, 4) to ``gt_bboxes`` (n, 4), xyxy in pixels."""
        return bbox2delta(_to_edges(bboxes), _to_edges(gt_bboxes), self.means, self.stds)

    def decode(
        self,
        bboxes: Tensor | HorizontalBoxes,
        pred_bboxes: Tensor,
        max_shape=None,
        wh_ratio_clip: float = 16 / 1000,
    ) -> Tensor | HorizontalBoxes:
        """Boxes (..., 4 * k) xyxy that ``pred_bboxes`` (..., 4 * k) make of priors ``bboxes`` (..., 4)."""
        boxes = delta2bbox(_to_edges(bboxes), pred_bboxes, self.means, self.stds, max_shape, wh_ratio_clip)
        return HorizontalBoxes(boxes.reshape(-1, 4)) if self.use_box_type else boxes


def _to_edges(boxes: Tensor | HorizontalBoxes) -> Tensor:
    """Boxes by the middles of their first and last pixels -> boxes by the outer edges of these pixels."""
    boxes = get_box_tensor(boxes)
    return boxes + boxes.new_tensor([-0.5, -0.5, 0.5, 0.5])
