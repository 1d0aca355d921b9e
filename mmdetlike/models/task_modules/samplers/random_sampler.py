"""Every prior, or a random, balanced subset of them: Fast R-CNN, arXiv 1504.08083."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from ..assigners import AssignResult
from .base_sampler import BaseSampler, SamplingResult, negatives_of, positives_of


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


@TASK_UTILS.register_module()
class RandomSampler(BaseSampler):
    """Take random positives and random negatives."""

    @staticmethod
    def random_choice(gallery: Tensor, num: int) -> Tensor:
        """``num`` random elements of ``gallery`` (n,), all of it where n <= num."""
        if len(gallery) <= num:
            return gallery
        return gallery[torch.randperm(len(gallery), device=gallery.device)[:num]]

    def choose_positives(self, assign_result: AssignResult, num: int) -> Tensor:
        return self.random_choice(positives_of(assign_result), num)

    def choose_negatives(self, assign_result: AssignResult, num: int) -> Tensor:
        return self.random_choice(negatives_of(assign_result), num)


@TASK_UTILS.register_module()
class MultiInsRandomSampler(RandomSampler):
    """Random positives and negatives of a ``MultiInstanceAssigner``, by the object that each overlaps most."""
