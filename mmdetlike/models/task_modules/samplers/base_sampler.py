"""The bases of the samplers, their result, and those that take every prior or random ones: Fast R-CNN, 1504.08083."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from ..assigners import AssignResult

# (result of the assigner, how many at most) -> indices of the chosen priors
Choice = Callable[[AssignResult, int], Tensor]


@dataclass
class SamplingResult:
    """The positives and negatives that a sampler chose of one image, with the objects of the positives.

    Attributes:
        pos_inds: (p,) indices of the positives among the priors.
        neg_inds: (q,) indices of the negatives.
        priors: (n, 4) all priors, xyxy in pixels, or rotated ones (n, 5).
        gt_bboxes: (m, 4) all objects, or rotated ones (m, 5), also where priors are not rotated.
        assign_result: What the assigner said.
        is_gt: (n,) bool, True for priors that are objects added to the proposals.
        avg_factor_with_neg: Whether a loss is averaged over positives and negatives or over positives alone.
        class_weights: (p + q,) what positives, then negatives weigh in the classification loss of regions; 1 if None
            is given.
    """

    pos_inds: Tensor
    neg_inds: Tensor
    priors: Tensor
    gt_bboxes: Tensor
    assign_result: AssignResult
    is_gt: Tensor
    avg_factor_with_neg: bool = True
    class_weights: Tensor | None = None

    def __post_init__(self) -> None:
        self.priors = get_box_tensor(self.priors)
        self.gt_bboxes = get_box_tensor(self.gt_bboxes)
        if self.class_weights is None:
            self.class_weights = torch.ones(len(self.pos_inds) + len(self.neg_inds), device=self.priors.device)

    @property
    def avg_factor(self) -> int:
        """What a loss summed over this image is to be divided by; at least 1 for each kind that counts."""
        # an image may have none of a kind
        positives = max(len(self.pos_inds), 1)
        negatives = max(len(self.neg_inds), 1)
        return positives + negatives if self.avg_factor_with_neg else positives

    @property
    def pos_priors(self) -> Tensor:
        """(p, 4) the positive priors."""
        return self.priors[self.pos_inds]

    @property
    def sampled_priors(self) -> Tensor:
        """(p + q, 4) positives, then negatives."""
        return self.priors[torch.cat([self.pos_inds, self.neg_inds])]

    @property
    def pos_assigned_gt_inds(self) -> Tensor:
        """(p,) the object of each positive, counted from 0."""
        return self.assign_result.gt_inds[self.pos_inds] - 1

    @property
    def pos_gt_labels(self) -> Tensor:
        """(p,) the class of each positive's object."""
        return self.assign_result.labels[self.pos_inds]

    @property
    def pos_gt_bboxes(self) -> Tensor:
        """(p, 4) the box of each positive's object."""
        return self.gt_bboxes[self.pos_assigned_gt_inds]

    @property
    def pos_is_gt(self) -> Tensor:
        """(p,) whether a positive is an object itself."""
        return self.is_gt[self.pos_inds]


class Sampler:
    """Base of the samplers, which choose the priors of an image that have a loss.

    Attributes:
        needs_losses: Whether ``sample`` takes a further argument ``loss_of``, which tells the classification losses
            (n,) of boxes (n, 4) and their classes (n,); region heads alone can give it.
    """

    needs_losses = False

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData
    ) -> SamplingResult:
        """Choose priors of one image.

        Args:
            assign_result: What the assigner said; where objects are added as proposals, it grows by them.
            pred_instances: ``priors`` (n, 4) xyxy in pixels.
            gt_instances: ``bboxes`` (m, 4) and ``labels`` (m,).
        """
        raise NotImplementedError


@TASK_UTILS.register_module()
class PseudoSampler(Sampler):
    """Take all positives and all negatives, for losses that weigh them by themselves, such as focal loss."""

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData
    ) -> SamplingResult:
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


class BaseSampler(Sampler):
    """Base of samplers that take up to ``num`` priors of an image, a set share of them positives.

    A subclass says which ones, in ``choose_positives`` and ``choose_negatives``.

    Args:
        num: Priors to take; a ``ValueError`` if below 1.
        pos_fraction: Largest share of positives; a ``ValueError`` if not in [0, 1].
        neg_pos_ub: Most negatives for each positive; negative for no limit.
        add_gt_as_proposals: Put the objects themselves before the priors.
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        if num < 1:
            raise ValueError(f'num must be at least 1, got {num}')
        if not 0 <= pos_fraction <= 1:
            raise ValueError(f'pos_fraction must be in [0, 1], got {pos_fraction}')
        self.num, self.pos_fraction = num, pos_fraction
        self.neg_pos_ub, self.add_gt_as_proposals = neg_pos_ub, add_gt_as_proposals

    def choose_positives(self, assign_result: AssignResult, num: int) -> Tensor:
        """Indices of at most ``num`` positives."""
        raise NotImplementedError

    def choose_negatives(self, assign_result: AssignResult, num: int) -> Tensor:
        """Indices of at most ``num`` negatives."""
        raise NotImplementedError

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData
    ) -> SamplingResult:
        priors = self.candidates(assign_result, pred_instances, gt_instances)
        return self.sample_with(assign_result, priors, gt_instances, self.choose_positives, self.choose_negatives)

    def candidates(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData
    ) -> Tensor:
        """(n, 4) the priors, after the objects where those are added; they are added to ``assign_result`` too.

        Rotated objects are added as the boxes around them where priors are axis-aligned.
        """
        priors = get_box_tensor(pred_instances.priors)
        gt_bboxes = geometry.as_kind_of(get_box_tensor(gt_instances.bboxes), priors)
        if not self.add_gt_as_proposals or not len(gt_bboxes):
            return priors
        assign_result.add_gt_(gt_instances.labels)
        return torch.cat([gt_bboxes.to(priors), priors])

    def sample_with(
        self,
        assign_result: AssignResult,
        priors: Tensor,
        gt_instances: InstanceData,
        choose_positives: Choice,
        choose_negatives: Choice,
    ) -> SamplingResult:
        """The sample that two choices make, where negatives fill up what positives leave."""
        num_added = len(gt_instances) if self.add_gt_as_proposals else 0
        pos_inds = choose_positives(assign_result, int(self.num * self.pos_fraction))
        num_negatives = self.num - len(pos_inds)
        if self.neg_pos_ub >= 0:
            # an image without positives has as many negatives as one with a single one
            num_negatives = min(num_negatives, int(self.neg_pos_ub * max(1, len(pos_inds))))
        return SamplingResult(
            pos_inds=pos_inds,
            neg_inds=choose_negatives(assign_result, num_negatives),
            priors=priors,
            gt_bboxes=gt_instances.bboxes,
            assign_result=assign_result,
            is_gt=torch.arange(len(priors), device=priors.device) < num_added,
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


def positives_of(assign_result: AssignResult) -> Tensor:
    """Indices (p,) of all positives."""
    return (assign_result.gt_inds > 0).nonzero().squeeze(1)


def negatives_of(assign_result: AssignResult) -> Tensor:
    """Indices (q,) of all negatives."""
    return (assign_result.gt_inds == 0).nonzero().squeeze(1)
