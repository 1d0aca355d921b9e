"""The result of an assigner: which object each prior is responsible for."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass
class AssignResult:
    """The object each prior is responsible for.

    Attributes:
        num_gts: Number of objects, m.
        gt_inds: (n,) int64: -1 ignored, 0 background, i > 0 the i-th object, counted from 1.
        max_overlaps: (n,) the overlap with it, or another quality of the match.
        labels: (n,) int64 the class of the object, -1 where there is none.
        assign_metrics: (n,) how well each prior suits its object, of an assigner that measures it.
        matches: (k, 2) priors and objects, counted from 0, of an assigner by which a prior may have several objects.
        shadowed: (k, 2) priors and classes that they do not learn, of an assigner that says so.
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor
    assign_metrics: Tensor | None = None
    matches: Tensor | None = None
    shadowed: Tensor | None = None

    @classmethod
    def from_gt_inds(
        cls, gt_inds: Tensor, max_overlaps: Tensor, gt_labels: Tensor, assign_metrics: Tensor | None = None
    ) -> 'AssignResult':
        """The result of ``gt_inds`` (n,), whose ``labels`` follow from those of the objects, ``gt_labels`` (m,)."""
        nobody = torch.full_like(gt_inds, -1)
        # without a list of the positives, whose length a GPU would have to be waited for
        labels = torch.where(gt_inds > 0, gt_labels[(gt_inds - 1).clamp(min=0)], nobody) if len(gt_labels) else nobody
        return cls(len(gt_labels), gt_inds, max_overlaps, labels, assign_metrics)

    @classmethod
    def all_background(cls, priors: Tensor, gt_labels: Tensor) -> 'AssignResult':
        """The result where all priors (n, 4) are background."""
        gt_inds = torch.zeros(len(priors), dtype=torch.long, device=priors.device)
        return cls.from_gt_inds(gt_inds, priors.new_zeros(len(priors)), gt_labels)

    def to(self, device: torch.device) -> Self:
        """The same with all tensors on ``device``."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Prepend the objects themselves as priors, each assigned to itself."""
        # before the priors, as in the toolbox: a seed then draws the same sample
        own = torch.arange(1, len(gt_labels) + 1, dtype=torch.long, device=gt_labels.device)
        self.gt_inds = torch.cat([own, self.gt_inds])
        self.max_overlaps = torch.cat([self.max_overlaps.new_ones(len(own)), self.max_overlaps])
        self.labels = torch.cat([gt_labels, self.labels])
