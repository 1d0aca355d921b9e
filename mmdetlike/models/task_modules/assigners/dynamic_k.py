"""Matching with a number of priors per object that follows from how well they fit: OTA, arXiv 2103.14259."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners.assign_result import AssignResult

# quality of priors that were no candidates
NO_OVERLAP = -1e8


def dynamic_k_matching(cost: Tensor, ious: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """Give each object its cheapest priors, as many as the sum of its ``topk`` largest overlaps, at least one.

    Args:
        cost: (n, m) of n priors and m objects.
        ious: (n, m) overlaps of predicted boxes.
        topk: Overlaps that are summed up.

    Returns:
        Places of the matched priors (k,) in rising order and their objects (k,); of several objects that want a
        prior it goes to the one that is cheapest for it.
    """
    counts = ious.topk(min(topk, len(ious)), dim=0).values.sum(0).int().clamp(1, len(ious))
    wanted = torch.zeros_like(cost, dtype=torch.bool)
    for count in counts.unique().tolist():
        objects = (counts == count).nonzero().squeeze(1)
        rows = cost[:, objects].topk(count, dim=0, largest=False).indices
        wanted[rows, objects] = True
    several = wanted.sum(1) > 1
    wanted[several] = False
    wanted[several, cost[several].argmin(1)] = True
    matched = wanted.any(1).nonzero().squeeze(1)
    return matched, wanted[matched].int().argmax(1)


def nothing_assigned(num_priors: int, gt_instances: InstanceData, like: Tensor) -> AssignResult:
    """The result where all priors are background; on the device and in the dtype of ``like``."""
    gt_inds = torch.zeros(num_priors, dtype=torch.long, device=like.device)
    return AssignResult(len(gt_instances), gt_inds, like.new_zeros(num_priors), torch.full_like(gt_inds, -1))


def match(
    candidates: Tensor, cost: Tensor, ious: Tensor, topk: int, num_priors: int, gt_instances: InstanceData
) -> AssignResult:
    """The result of ``dynamic_k_matching`` for all priors.

    Args:
        candidates: (n,) places of the candidates among ``num_priors`` priors.
        cost: (n, m) of candidates and objects.
        ious: (n, m) overlaps of the candidates' predicted boxes, which become the matches' quality.
        topk: See ``dynamic_k_matching``.
        num_priors: Number of all priors.
        gt_instances: The m objects, with ``labels``.
    """
    result = nothing_assigned(num_priors, gt_instances, ious)
    rows, objects = dynamic_k_matching(cost, ious, topk)
    result.max_overlaps.fill_(NO_OVERLAP)
    result.max_overlaps[candidates[rows]] = ious[rows, objects]
    result.gt_inds[candidates[rows]] = objects + 1
    result.labels[candidates[rows]] = gt_instances.labels[objects]
    return result
