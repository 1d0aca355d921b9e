"""A random, balanced subset of the priors: Fast R-CNN, arXiv 1504.08083."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import get_box_tensor

from ..assigners import AssignResult
from .sampling_result import SamplingResult


@TASK_UTILS.register_module()
class RandomSampler:
    """Up to ``num`` priors of an image, a set share of them positive where there are as many.

    Args:
        num: Priors to take.
        pos_fraction: Largest share of positives.
        neg_pos_ub: Most negatives for each positive; negative for no limit.
        add_gt_as_proposals: Put the objects themselves before the priors.
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num, self.pos_fraction = num, pos_fraction
        self.neg_pos_ub, self.add_gt_as_proposals = neg_pos_ub, add_gt_as_proposals

    @staticmethod
    def random_choice(gallery: Tensor, num: int) -> Tensor:
        """``num`` random elements of ``gallery`` (n,), all of it where n <= num."""
        if len(gallery) <= num:
            return gallery
        return gallery[torch.randperm(len(gallery), device=gallery.device)[:num]]

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData
    ) -> SamplingResult:
        """Choose priors of one image.

        Args:
            assign_result: What the assigner said; where objects are added as proposals, it grows by them.
            pred_instances: ``priors`` (n, 4) xyxy in pixels.
            gt_instances: ``bboxes`` (m, 4) and ``labels`` (m,).
        """
        priors, gt_bboxes = get_box_tensor(pred_instances.priors), get_box_tensor(gt_instances.bboxes)
        num_added = len(gt_bboxes) if self.add_gt_as_proposals else 0
        if num_added:
            priors = torch.cat([gt_bboxes.to(priors), priors])
            assign_result.add_gt_(gt_instances.labels)
        pos_inds = self.choose_positives(assign_result, int(self.num * self.pos_fraction))
        num_negatives = self.num - len(pos_inds)
        if self.neg_pos_ub >= 0:
            num_negatives = min(num_negatives, int(self.neg_pos_ub * max(1, len(pos_inds))))
        return SamplingResult(
            pos_inds=pos_inds,
            neg_inds=self.choose_negatives(assign_result, num_negatives),
            priors=priors,
            gt_bboxes=gt_bboxes,
            assign_result=assign_result,
            is_gt=torch.arange(len(priors), device=priors.device) < num_added,
        )

    def choose_positives(self, assign_result: AssignResult, num: int) -> Tensor:
        """At most ``num`` places of positives."""
        return self.random_choice((assign_result.gt_inds > 0).nonzero().squeeze(1), num)

    def choose_negatives(self, assign_result: AssignResult, num: int) -> Tensor:
        """At most ``num`` places of negatives."""
        return self.random_choice((assign_result.gt_inds == 0).nonzero().squeeze(1), num)
