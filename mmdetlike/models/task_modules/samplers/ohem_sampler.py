"""Training Region-based Object Detectors with Online Hard Example Mining, arXiv 1604.03540."""

import functools
from collections.abc import Callable

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from ..assigners import AssignResult
from .base_sampler import BaseSampler, SamplingResult, negatives_of, positives_of


@TASK_UTILS.register_module()
class OHEMSampler(BaseSampler):
    """Take the regions that the box head classifies worst, in training of region heads.

    Args:
        loss_key: Kept for configs: the loss that ranks regions, ``'loss_cls'``; a ``ValueError`` if it is another one.
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: As of ``BaseSampler``.
    """

    needs_losses = True

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        loss_key: str = 'loss_cls',
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        if loss_key != 'loss_cls':
            raise ValueError(f"loss_key must be 'loss_cls', got {loss_key!r}")

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        loss_of: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> SamplingResult:
        """See ``BaseSampler``; ``loss_of`` tells the classification loss (n,) of regions (n, 4) and their classes (n,).

        Background has class -1. Without ``loss_of``, which a dense head doesn't give, a ``ValueError`` is raised.
        """
        if loss_of is None:
            raise ValueError('OHEMSampler ranks regions by the loss of a region head; a dense head has no such loss')
        priors = self.candidates(assign_result, pred_instances, gt_instances)
        losses = loss_of(priors, assign_result.labels)
        choices = (functools.partial(hardest, losses, kind) for kind in (positives_of, negatives_of))
        return self.sample_with(assign_result, priors, gt_instances, *choices)


def hardest(losses: Tensor, kind: Callable[[AssignResult], Tensor], assign_result: AssignResult, num: int) -> Tensor:
    """Indices of the ``num`` priors of the given kind that have the largest of ``losses`` (n,)."""
    inds = kind(assign_result)
    return inds if len(inds) <= num else inds[torch.topk(losses[inds], num).indices]
