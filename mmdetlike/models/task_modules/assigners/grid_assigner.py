"""Assignment to the anchors of the cell in which an object's center lies: YOLOv3, arXiv 1804.02767."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from .max_iou_assigner import MaxIoUAssigner


@TASK_UTILS.register_module()
class GridAssigner(MaxIoUAssigner):
    """Give an object priors of its own cell only, by overlap.

    A prior is background where its largest overlap is at most ``neg_iou_thr``. A prior in the cell of an object's
    center is positive where it overlaps an object by more than ``pos_iou_thr``; and the one that overlaps an object
    most takes it in any case, if by more than ``min_pos_iou``, later objects before earlier ones. The other priors
    are ignored.

    Args:
        pos_iou_thr: Overlap above which a prior is positive.
        neg_iou_thr: Overlap up to which it is background, or the range (low, high] in which it is.
        min_pos_iou: Overlap which an object's best prior must exceed.
        gt_max_assign_all, iou_calculator: See ``MaxIoUAssigner``.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: dict | None = None,
    ) -> None:
        super().__init__(pos_iou_thr, neg_iou_thr, min_pos_iou, gt_max_assign_all, iou_calculator=iou_calculator)

    def candidates(self, pred_instances: InstanceData) -> Tensor:
        """(n,) the priors in a cell with the center of an object, which ``responsible_flags`` (n,) mark."""
        return pred_instances.responsible_flags.bool()

    def is_background(self, overlaps: Tensor) -> Tensor:
        low, high = self.neg_range
        return (overlaps > low) & (overlaps <= high)

    def is_positive(self, overlaps: Tensor) -> Tensor:
        return overlaps > self.pos_iou_thr

    def takes_its_best(self, overlaps: Tensor) -> Tensor:
        # the priors of other cells have a negative overlap by now, so that none of them is taken
        return overlaps > max(self.min_pos_iou, 0)
