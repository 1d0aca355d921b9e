"""Samplers that spread their choice: Libra R-CNN: Towards Balanced Learning for Object Detection, arXiv 1904.02701."""

import torch
from torch import Tensor

from mmdetlike.models.utils import ranks_in_groups
from mmdetlike.registry import TASK_UTILS

from ..assigners import AssignResult
from .base_sampler import BaseSampler, RandomSampler, negatives_of, positives_of


@TASK_UTILS.register_module()
class InstanceBalancedPosSampler(RandomSampler):
    """Take equally many positives of each object, as far as their numbers allow, and random negatives."""

    def choose_positives(self, assign_result: AssignResult, num: int) -> Tensor:
        inds = positives_of(assign_result)
        if len(inds) <= num:
            return inds
        turn = random_ranks(assign_result.gt_inds[inds])
        return inds[first_by(turn, num)]


@TASK_UTILS.register_module()
class IoUBalancedNegSampler(RandomSampler):
    """Take negatives evenly over ranges of their overlap with objects, so that hard ones count, and random positives.

    Args:
        floor_thr: Negatives of a smaller overlap (of no overlap, where it is 0) are the floor, whose share of the
            sample is set; -1 for none. A ``ValueError`` if it is neither -1 nor in [0, 1).
        floor_fraction: Share of the negatives that come from the floor; a ``ValueError`` if not in [0, 1].
        num_bins: Ranges of equal length between ``floor_thr`` and the largest overlap of any prior.
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: As of ``BaseSampler``.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        floor_thr: float = -1,
        floor_fraction: float = 0,
        num_bins: int = 3,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        if floor_thr != -1 and not 0 <= floor_thr < 1:
            raise ValueError(f'floor_thr must be -1 or in [0, 1), got {floor_thr}')
        if not 0 <= floor_fraction <= 1:
            raise ValueError(f'floor_fraction must be in [0, 1], got {floor_fraction}')
        if num_bins < 1:
            raise ValueError(f'num_bins must be at least 1, got {num_bins}')
        self.floor_thr, self.floor_fraction, self.num_bins = floor_thr, floor_fraction, num_bins

    def choose_negatives(self, assign_result: AssignResult, num: int) -> Tensor:
        inds = negatives_of(assign_result)
        if len(inds) <= num:
            return inds
        overlaps = assign_result.max_overlaps
        # with a threshold of 0 the floor is what overlaps nothing, which is not below 0
        is_floor = overlaps[inds] < self.floor_thr if self.floor_thr else overlaps[inds] == 0
        above = self._spread(inds[~is_floor], overlaps, int(num * (1 - self.floor_fraction)))
        floor = self.random_choice(inds[is_floor], num - len(above))
        taken = torch.cat([above, floor])
        # what either part lacks, any negatives fill up
        rest = inds[~torch.isin(inds, taken)]
        return torch.cat([taken, self.random_choice(rest, num - len(taken))])

    def _spread(self, inds: Tensor, overlaps: Tensor, num: int) -> Tensor:
        """At most ``num`` of ``inds``, as many of each bin; what bins lack, others fill up."""
        if len(inds) <= num:
            return inds
        lowest = max(self.floor_thr, 0.0)
        length = (overlaps.max() - lowest) / self.num_bins
        bins = ((overlaps[inds] - lowest) / length.clamp(min=1e-6)).long().clamp(0, self.num_bins - 1)
        is_surplus = random_ranks(bins) >= num // self.num_bins
        return inds[first_by(is_surplus, num)]


@TASK_UTILS.register_module()
class CombinedSampler(BaseSampler):
    """Take the positives that one sampler chooses and the negatives that another one chooses.

    Args:
        pos_sampler, neg_sampler: Choose positives and negatives.
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: As of ``BaseSampler``; both samplers have these arguments
            too, unless they say otherwise.
    """

    def __init__(
        self,
        pos_sampler: dict,
        neg_sampler: dict,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        common = dict(
            num=num, pos_fraction=pos_fraction, neg_pos_ub=neg_pos_ub, add_gt_as_proposals=add_gt_as_proposals
        )
        self.pos_sampler = TASK_UTILS.build({**common, **pos_sampler})
        self.neg_sampler = TASK_UTILS.build({**common, **neg_sampler})

    def choose_positives(self, assign_result: AssignResult, num: int) -> Tensor:
        return self.pos_sampler.choose_positives(assign_result, num)

    def choose_negatives(self, assign_result: AssignResult, num: int) -> Tensor:
        return self.neg_sampler.choose_negatives(assign_result, num)


def random_ranks(groups: Tensor) -> Tensor:
    """(n,) the rank of each element in a random order of its group, from 0, given the groups (n,)."""
    return ranks_in_groups(torch.randperm(len(groups), device=groups.device), groups)


def first_by(key: Tensor, num: int) -> Tensor:
    """Indices of the ``num`` smallest of the integers ``key`` (n,), equal ones in random order."""
    # a random fraction decides among equal integers; in float32 it would vanish beside large ones
    return (key + torch.rand(len(key), dtype=torch.float64, device=key.device)).argsort()[:num]
