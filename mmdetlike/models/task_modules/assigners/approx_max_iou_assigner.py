"""Assignment by the overlap of anchors that stand for a free shape: Guided Anchoring, arXiv 1901.03278."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from .max_iou_assigner import MaxIoUAssigner


@TASK_UTILS.register_module()
class ApproxMaxIoUAssigner(MaxIoUAssigner):
    """``MaxIoUAssigner`` by the largest overlap of several anchors at each prior, ``approxs`` (n, k, 4) xyxy."""

    def overlaps(self, pred_instances: InstanceData, gt_bboxes: Tensor) -> Tensor:
        approxs = pred_instances.approxs.to(gt_bboxes.device)
        overlaps = self.iou_calculator(gt_bboxes, approxs.flatten(0, 1))
        return overlaps.view(len(gt_bboxes), *approxs.shape[:2]).amax(-1)
