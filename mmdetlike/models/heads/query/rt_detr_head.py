"""The head of RT-DETR: DETRs Beat YOLOs on Real-time Object Detection, arXiv 2304.08069."""

import torch
from torch import Tensor

from mmdetlike.models.losses import VarifocalLoss
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps

from .common import QueryContext, QueryTargets
from .deformable_detr_head import DeformableDETRHead


@MODELS.register_module()
class RTDETRHead(DeformableDETRHead):
    """The head of DINO, whose scores also learn how well boxes fit where ``loss_cls`` is a ``VarifocalLoss``.

    Arguments are those of ``DeformableDETRHead``.
    """

    binary_proposals = False

    def class_loss(
        self,
        cls_score: Tensor,
        pos_bboxes: Tensor,
        targets: QueryTargets,
        context: QueryContext,
        avg_factor: float,
    ) -> Tensor:
        """See ``QueryHead``; the overlap of a positive's box with its object is what its score should be."""
        if not isinstance(self.loss_cls, VarifocalLoss):
            return super().class_loss(cls_score, pos_bboxes, targets, context, avg_factor)
        logits = cls_score.flatten(0, 1)
        weights = targets.weights.flatten()[:, None].expand_as(logits).clone()
        quality = torch.zeros_like(logits)
        labels = targets.labels.flatten()[targets.pos_inds]
        overlaps = bbox_overlaps(pos_bboxes.detach(), targets.pos_gt_bboxes, is_aligned=True)
        quality[targets.pos_inds, labels] = overlaps.to(quality.dtype)
        # a positive weighs as much as it overlaps; one that doesn't overlap is no negative
        weights[targets.pos_inds, labels] *= overlaps > 0
        return self.loss_cls(logits, quality, weights, avg_factor=avg_factor)
