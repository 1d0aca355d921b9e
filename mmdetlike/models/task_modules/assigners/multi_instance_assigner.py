"""Several objects for one prior: Detection in Crowded Scenes: One Proposal, Multiple Predictions, arXiv 2003.09163."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import TASK_UTILS

from .base_assigner import AssignResult
from .max_iou_assigner import MaxIoUAssigner


@dataclass
class MultiInstanceAssignResult(AssignResult):
    """The objects each prior is responsible for.

    ``gt_inds`` and the other attributes are those of the object that a prior overlaps most.

    Attributes:
        gt_inds_of_instances: (n, k) int64 the k objects of each prior by falling overlap, counted as ``gt_inds``.
        labels_of_instances: (n, k) int64 their classes, -1 where there is none.
    """

    gt_inds_of_instances: Tensor = field(default=None)
    labels_of_instances: Tensor = field(default=None)

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Prepend the objects themselves as priors, each assigned to itself alone."""
        super().add_gt_(gt_labels)
        shape = (len(gt_labels), self.gt_inds_of_instances.shape[1])
        alone = self.gt_inds_of_instances.new_zeros(shape)
        alone[:, 0] = self.gt_inds[: len(gt_labels)]
        labels = self.labels_of_instances.new_full(shape, -1)
        labels[:, 0] = gt_labels
        self.gt_inds_of_instances = torch.cat([alone, self.gt_inds_of_instances])
        self.labels_of_instances = torch.cat([labels, self.labels_of_instances])


@TASK_UTILS.register_module()
class MultiInstanceAssigner(MaxIoUAssigner):
    """Give each prior the ``num_instance`` objects it overlaps most, as many of them as it overlaps enough.

    Args:
        num_instance: Objects of one prior; a ``ConfigError`` if below 1.
        match_low_quality: Must be False, else a ``ConfigError``: objects take no priors below ``pos_iou_thr``.
    """

    def __init__(self, num_instance: int = 2, match_low_quality: bool = False, **kwargs) -> None:
        super().__init__(match_low_quality=match_low_quality, **kwargs)
        if match_low_quality or num_instance < 1:
            raise ConfigError(
                'MultiInstanceAssigner needs match_low_quality=False and num_instance of at least 1, got '
                f'match_low_quality={match_low_quality} and num_instance={num_instance}'
            )
        self.num_instance = num_instance

    def assign_wrt_overlaps(
        self, overlaps: Tensor, gt_labels: Tensor, candidates: Tensor | None = None
    ) -> MultiInstanceAssignResult:
        first = super().assign_wrt_overlaps(overlaps, gt_labels, candidates)
        num_ranked = min(self.num_instance, overlaps.shape[0])
        ranked, objects = overlaps.topk(num_ranked, dim=0)
        gt_inds = torch.zeros(overlaps.shape[1], self.num_instance, dtype=torch.long, device=overlaps.device)
        matched = torch.where(self.is_positive(ranked), objects + 1, -1)
        matched = torch.where(self.is_background(ranked), 0, matched)
        # overlaps of priors to be ignored are negative
        gt_inds[:, :num_ranked] = torch.where(ranked < 0, -1, matched).T
        labels = torch.full_like(gt_inds, -1)
        labels[gt_inds > 0] = gt_labels[gt_inds[gt_inds > 0] - 1]
        of_instances = dict(gt_inds_of_instances=gt_inds, labels_of_instances=labels)
        return MultiInstanceAssignResult(first.num_gts, first.gt_inds, first.max_overlaps, first.labels, **of_instances)
