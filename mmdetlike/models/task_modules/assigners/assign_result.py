"""What an assigner says of each prior."""

from dataclasses import dataclass

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
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor
    assign_metrics: Tensor | None = None

    @property
    def num_preds(self) -> int:
        """Number of priors, n."""
        return len(self.gt_inds)

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Prepend the objects themselves as priors, each assigned to itself."""
        own = torch.arange(1, len(gt_labels) + 1, dtype=torch.long, device=gt_labels.device)
        self.gt_inds = torch.cat([own, self.gt_inds])
        self.max_overlaps = torch.cat([self.max_overlaps.new_ones(len(own)), self.max_overlaps])
        self.labels = torch.cat([gt_labels, self.labels])
