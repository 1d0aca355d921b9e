"""Masks whose quality is predicted: Mask Scoring R-CNN, arXiv 1903.00241."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi

from ..mask_heads import masks_of_class
from .mask import MaskBranch, PositiveMasks

EPS = 1e-7


class MaskScoringBranch(MaskBranch):
    """Masks by ``mask_head``, their overlap with the object by ``mask_iou_head``; scores are multiplied by it."""

    def compute_losses(
        self,
        stage: int,
        x: Sequence[Tensor],
        masks: PositiveMasks,
        sampled: Sequence[SamplingResult],
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """The mask loss, and the loss of the predicted overlaps."""
        losses = super().compute_losses(stage, x, masks, sampled, samples)
        logits = masks_of_class(masks.logits, masks.labels, self.regions.part('mask_head', stage).class_agnostic)
        logits = float32_if_half(logits)[0]
        pred = self.regions.mask_iou_head(masks.feats, logits.sigmoid())
        # the original's threshold acts on logits: trained weights expect the overlaps of these (smaller) masks
        threshold = self.regions.stage_cfgs[stage].mask_thr_binary
        targets = mask_ious(logits > threshold, masks.targets, visible_shares(sampled, samples))
        return dict(losses, loss_mask_iou=self.regions.mask_iou_head.loss(pred, targets, masks.labels))

    def add_predictions(
        self, x: Sequence[Tensor], results: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> None:
        """Put ``masks`` into the results and multiply ``scores`` by the predicted overlaps.

        Results stay in the order of the scores of their boxes.
        """
        probabilities = self.probabilities(x, results)
        self.paste(probabilities, results, samples, rescale)
        feats = self.regions.features(self.extractor, 0, x, bbox2roi([result.bboxes for result in results]))
        pred = float32_if_half(self.regions.mask_iou_head(feats, probabilities))[0]
        ious = masks_of_class(pred, torch.cat([result.labels for result in results]), class_agnostic=False)
        for result, of_image in zip(results, ious.split([len(result) for result in results])):
            result.scores = result.scores * of_image


def visible_shares(sampled: Sequence[SamplingResult], samples: SampleList) -> Tensor:
    """Which share (p,) of its object's mask lies within the region of each positive."""
    shares = []
    for result, sample in zip(sampled, samples):
        masks = sample.gt_instances.masks.to_ndarray()
        boxes = result.pos_priors.int().tolist()
        inside = [
            masks[gt, y1 : y2 + 1, x1 : x2 + 1].sum()
            for (x1, y1, x2, y2), gt in zip(boxes, result.pos_assigned_gt_inds.tolist())
        ]
        areas = torch.as_tensor(masks.sum((1, 2), dtype='float32'), device=result.priors.device)
        inside = torch.tensor(inside, dtype=torch.float32, device=result.priors.device)
        shares.append(inside / (areas[result.pos_assigned_gt_inds] + EPS))
    return torch.cat(shares)


def mask_ious(masks: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """Overlap (p,) of masks (p, h, w) bool, within regions, with whole objects.

    Of an object a region shows a part only: ``targets`` (p, h, w) of 0 and 1, which is one of ``shares`` (p,) of it.
    """
    overlaps = (masks * targets).sum((1, 2))
    whole = targets.sum((1, 2)) / (shares + EPS)
    return overlaps / (masks.sum((1, 2)) + whole - overlaps).clamp(min=EPS)
