"""Samplers that ask a region head what it makes of the regions."""

import functools
from collections.abc import Callable

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike_ops import nms_match

from ..assigners import AssignResult
from .base_sampler import BaseSampler, RandomSampler, SamplingResult, negatives_of, positives_of


@TASK_UTILS.register_module()
class OHEMSampler(BaseSampler):
    """Take the regions that the box head classifies worst: Online Hard Example Mining, arXiv 1604.03540.

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


@TASK_UTILS.register_module()
class ScoreHLRSampler(RandomSampler):
    """Random positives, and the negatives that look most like objects, with weights that fall by their rank.

    Prime Sample Attention in Object Detection, arXiv 1904.04821.
    Negatives are ranked hierarchically: first within each cluster of boxes that suppress each other, by falling
    score, then among those of the same rank in their clusters. Ranks become weights of the classification loss
    that leave its sum as it was.

    Args:
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: As of ``BaseSampler``.
        k: Power of the weights.
        bias: The weight, before the power, of the last rank.
        score_thr: Negatives below this score are drawn at random, where more are needed.
        iou_thr: Overlap from which boxes are of one cluster.
    """

    needs_predictions = True

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        k: float = 0.5,
        bias: float = 0.0,
        score_thr: float = 0.05,
        iou_thr: float = 0.5,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        self.k, self.bias = k, bias
        self.score_thr, self.iou_thr = score_thr, iou_thr

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        predict: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]] | None = None,
    ) -> SamplingResult:
        """See ``BaseSampler``; the result has ``class_weights``.

        ``predict`` is boxes (q, 4) -> their largest score of an object (q,), the box refined as that class (q, 4), and
        the classification loss as background (q,). A ``ValueError`` if None: the head is not ``PISARoIHead``.
        """
        if predict is None:
            raise ValueError('ScoreHLRSampler ranks regions by their predictions, which only PISARoIHead tells it')
        priors = self.candidates(assign_result, pred_instances, gt_instances)
        negatives = negatives_of(assign_result)
        predictions = predict(priors[negatives])
        weights = priors.new_ones(len(priors))

        def choose_negatives(assigned: AssignResult, num: int) -> Tensor:
            chosen, chosen_weights = self.prime_negatives(*predictions, num)
            weights[negatives[chosen]] = chosen_weights.to(weights)
            return negatives[chosen]

        result = self.sample_with(assign_result, priors, gt_instances, self.choose_positives, choose_negatives)
        result.class_weights = torch.cat([torch.ones_like(weights[result.pos_inds]), weights[result.neg_inds]])
        return result

    def prime_negatives(self, scores: Tensor, boxes: Tensor, losses: Tensor, num: int) -> tuple[Tensor, Tensor]:
        """Indices (k,) of at most ``num`` negatives, the most prime ones first, and their weights (k,).

        Of each of q negatives ``scores`` (q,), ``boxes`` (q, 4) and ``losses`` (q,) are what ``predict`` tells.
        """
        num = min(num, len(scores))
        likely = (scores > self.score_thr).nonzero().squeeze(1)
        if not len(likely):
            chosen = self.random_choice(torch.arange(len(scores), device=scores.device), num)
            return chosen, torch.ones_like(scores[chosen])
        ranked = likely[self.by_rank(boxes[likely], scores[likely])][:num]
        unlikely = (scores <= self.score_thr).nonzero().squeeze(1)
        chosen = torch.cat([ranked, self.random_choice(unlikely, num - len(ranked))])
        # those drawn at random weigh as little as the last ranked one
        largest = max(num, len(likely))
        rank = torch.arange(len(chosen), device=scores.device).clamp(max=len(ranked) - 1)
        weights = ((largest - rank) / largest * (1 - self.bias) + self.bias) ** self.k
        return chosen, weights_of_same_sum(weights, losses[chosen])

    def by_rank(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """Indices (k,) of boxes (k, 4) with scores (k,), the most prime ones first."""
        # a better rank in a cluster outweighs every score, which is below 1
        importance = scores.clone()
        for cluster in nms_match(torch.cat([boxes, scores[:, None]], dim=1), self.iou_thr):
            importance[cluster] -= torch.arange(len(cluster), device=scores.device)
        return importance.sort(descending=True).indices


def hardest(losses: Tensor, kind: Callable[[AssignResult], Tensor], assign_result: AssignResult, num: int) -> Tensor:
    """Indices of the ``num`` priors of the given kind that have the largest of ``losses`` (n,)."""
    inds = kind(assign_result)
    return inds if len(inds) <= num else inds[torch.topk(losses[inds], num).indices]


def weights_of_same_sum(weights: Tensor, losses: Tensor) -> Tensor:
    """``weights`` (n,) scaled so that the sum of ``losses`` (n,) stays what it is without them."""
    weighted = (losses * weights).sum()
    # nothing to preserve where all is learned already
    return weights * (losses.sum() / weighted) if weighted > 0 else weights
