"""A random, balanced subset of the priors: Fast R-CNN, arXiv 1504.08083."""

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from ..assigners import AssignResult
from .base_sampler import BaseSampler, negatives_of, positives_of


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
