"""The sampler that takes every prior."""

import torch
from mmengine.structures import InstanceData

from mmdetlike.registry import TASK_UTILS

from ..assigners import AssignResult
from .base_sampler import negatives_of, positives_of
from .sampling_result import SamplingResult


@TASK_UTILS.register_module()
class PseudoSampler:
    """Take all positives and all negatives, for losses that weigh them by themselves, such as focal loss."""

    needs_losses = False

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData
    ) -> SamplingResult:
        """Take every prior that the assigner did not ignore."""
        return SamplingResult(
            pos_inds=positives_of(assign_result),
            neg_inds=negatives_of(assign_result),
            priors=pred_instances.priors,
            gt_bboxes=gt_instances.bboxes,
            assign_result=assign_result,
            is_gt=torch.zeros_like(assign_result.gt_inds, dtype=torch.bool),
            # the many easy negatives hardly count, so they are no part of what losses are divided by
            avg_factor_with_neg=False,
        )
