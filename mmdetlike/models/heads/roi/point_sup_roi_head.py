"""Masks learned from labeled points: Pointly-Supervised Instance Segmentation, arXiv 2104.06404."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike_ops import point_sample

from .branches import MaskBranch
from .mask_heads import masks_of_class
from .roi_head import StandardRoIHead


class PointMaskBranch(MaskBranch):
    """Masks by ``mask_head``, whose logits are held against labeled points in place of whole masks."""

    def terms(
        self, stage: int, x: Sequence[Tensor], feats: Tensor, sampled: Sequence[SamplingResult], samples: SampleList
    ) -> dict[str, Tensor]:
        """``loss_mask``: that of the mask head, at the points that lie in the positives' regions.

        The mean is over all points, of which those outside of the region or without a label have no loss.
        """
        head = self.regions.part('mask_head', stage)
        logits = float32_if_half(self.logits(feats, [stage])[0])[0]
        if not len(logits):
            return dict(loss_mask=logits.sum())
        coords, targets, counts = point_targets(sampled, samples)
        labels = torch.cat([result.pos_gt_labels for result in sampled])
        own = masks_of_class(logits, labels, head.class_agnostic)
        at_points = point_sample(own[:, None], coords)
        # a channel each, as the loss of masks takes them
        first = torch.zeros_like(labels)
        weighted = head.loss_mask(at_points, targets, reduction_override='none', region_labels=first)
        return dict(loss_mask=(weighted * counts).mean())


def point_targets(sampled: Sequence[SamplingResult], samples: SampleList) -> tuple[Tensor, Tensor, Tensor]:
    """What the masks of p positives should show at q points each.

    Returns:
        x and y (p, q, 2) in the positives' regions, whose corners are (0, 0) and (1, 1); labels (p, q) of 0 and 1; and
        (p, q) whether a point has a label and lies in the region.

    Raises:
        ValueError: A sample has objects without points.
    """
    points = []
    for result, sample in zip(sampled, samples):
        known = sample.gt_instances.get('points')
        if known is None:
            raise ValueError(
                f'PointSup needs gt_instances.points; {sample.get("img_path")} has none (load them with LoadMaskPoints)'
            )
        points.append(known.to(result.pos_priors.device)[result.pos_assigned_gt_inds])
    points = torch.cat(points)
    regions = torch.cat([result.pos_priors for result in sampled])[:, None]
    # a region without extent has no points inside
    sides = (regions[..., 2:] - regions[..., :2]).clamp(min=1e-6)
    coords = (points[..., :2] - regions[..., :2]) / sides
    inside = ((coords >= 0) & (coords <= 1)).all(-1)
    return coords, points[..., 2].clamp(min=0), inside & (points[..., 2] >= 0)


@MODELS.register_module()
class PointSupRoIHead(StandardRoIHead):
    """Mask R-CNN's region head, whose masks are learned from labeled points (``LoadMaskPoints``); see ``RoIHead``."""

    mask_branch_class = PointMaskBranch
