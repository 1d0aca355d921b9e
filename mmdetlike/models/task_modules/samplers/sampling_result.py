"""The priors of one image that take part in its loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdetlike.structures.bbox import get_box_tensor

from ..assigners import AssignResult


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
