"""Give every object equally many priors: YOLOF, arXiv 2103.09460."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .base_assigner import AssignResult, BaseAssigner


@TASK_UTILS.register_module()
class UniformAssigner(BaseAssigner):
    """Match every object with equally many anchors: the nearest ones, and those whose predicted boxes are nearest.

    A matched anchor that overlaps its object too little is ignored, as is an unmatched one whose box overlaps an
    object too much. Of several objects of an anchor the one that is further down its list wins.

    Args:
        pos_ignore_thr: IoU below which a matched anchor is ignored.
        neg_ignore_thr: IoU above which the predicted box of an unmatched anchor is ignored.
        match_times: How many of each kind an object is matched with.
        iou_calculator: As of ``BaseAssigner``.
    """

    needs_predictions = True

    def __init__(
        self, pos_ignore_thr: float, neg_ignore_thr: float, match_times: int = 4, iou_calculator: dict | None = None
    ) -> None:
        super().__init__(iou_calculator)
        self.pos_ignore_thr, self.neg_ignore_thr, self.match_times = pos_ignore_thr, neg_ignore_thr, match_times

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        """Assign; ``matches`` of the result has all matches that overlap enough."""
        priors = get_box_tensor(pred_instances.priors)
        boxes = get_box_tensor(gt_instances.bboxes)
        predicted = get_box_tensor(pred_instances.bboxes)
        gt_inds = torch.zeros(len(priors), dtype=torch.long, device=priors.device)
        if not len(boxes) or not len(priors):
            result = AssignResult.all_background(priors, gt_instances.labels)
            result.matches = gt_inds.new_zeros(0, 2)
            return result
        nearest = torch.cat([self._nearest(predicted, boxes), self._nearest(priors, boxes)], dim=1)
        rows = nearest.flatten()  # by rank: later ones win
        objects = torch.arange(len(boxes), device=rows.device).repeat(len(rows) // len(boxes))
        overlaps = self.iou_calculator(priors, boxes)
        is_enough = overlaps[rows, objects] >= self.pos_ignore_thr
        gt_inds[self.iou_calculator(predicted, boxes).amax(1) > self.neg_ignore_thr] = -1
        # the last match of an anchor is the one with the largest index in the list
        order = torch.arange(len(rows), device=rows.device)
        last = torch.full_like(gt_inds, -1).scatter_reduce_(0, rows, order, 'amax')
        matched = last >= 0
        gt_inds[matched] = torch.where(is_enough, objects + 1, -1)[last[matched]]
        result = AssignResult.from_gt_inds(gt_inds, overlaps.amax(1), gt_instances.labels)
        result.matches = torch.stack([rows, objects], 1)[is_enough]
        return result

    def _nearest(self, candidates: Tensor, boxes: Tensor) -> Tensor:
        """(match_times, m) the candidates (n, 4) whose centers and sizes differ least from those of boxes (m, 4)."""
        shapes = [torch.cat([geometry.centers(each), geometry.sizes(each)], -1) for each in (candidates, boxes)]
        distances = torch.cdist(*shapes, p=1)
        return distances.topk(min(self.match_times, len(candidates)), dim=0, largest=False).indices
