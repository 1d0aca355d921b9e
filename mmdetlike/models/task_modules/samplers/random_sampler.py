"""A random, balanced subset of the priors: Fast R-CNN, arXiv 1504.08083."""

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from ..assigners import AssignResult
from .base_sampler import BaseSampler, negatives_of, positives_of


@TASK_UTILS.register_module()
class RandomSampler(BaseSampler):
    """Up to ``num`` random priors of an image, a set share of them positive where there are as many.

    Args:
        num: Priors to take.
        pos_fraction: Largest share of positives.
        neg_pos_ub: Most negatives for each positive; negative for no limit.
        add_gt_as_proposals: Put the objects themselves before the priors.
    """

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
