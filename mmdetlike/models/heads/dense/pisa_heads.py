"""One-stage heads of Prime Sample Attention in Object Detection, arXiv 1904.04821."""

from dataclasses import replace

import torch
from torch import Tensor

from mmdetlike.models.losses.prime_samples import classification_aware_weights, importance_weights, row_sums
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps

from .anchor_head import AnchorHead
from .predictions import DenseTargets, FlatPredictions, LossTerms
from .retina_head import RetinaHead
from .ssd_head import SSDHead


class PrimeSamples(AnchorHead):
    """Weighs the positives of an anchor head by how good their boxes are, and adds a loss of boxes by their scores.

    ``train_cfg`` may have ``isr``, with ``k`` and ``bias`` of ``importance_weights``, and ``carl``, with those of
    ``classification_aware_weights``.
    """

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """As of the head, and ``carl`` of the positives of the batch where ``train_cfg`` asks for it."""
        if self.train_cfg.get('isr') is not None:
            targets = self.weighted(preds, targets)
        terms = super().target_losses(preds, targets, samples)
        if self.train_cfg.get('carl') is not None:
            terms['carl'] = self.score_aware_loss(preds, targets)
        return terms

    @torch.no_grad()
    def weighted(self, preds: FlatPredictions, targets: DenseTargets) -> DenseTargets:
        """The targets, whose positives have label weights by the ranks of their boxes."""
        pos_inds = targets.pos_inds
        deltas = preds.bbox_pred.flatten(0, 1)[pos_inds]
        boxes = self.bbox_coder.decode(self.references(targets.pos_priors), deltas)
        overlaps = bbox_overlaps(boxes, targets.pos_gt_bboxes, is_aligned=True)
        logits = preds.cls_score.flatten(0, 1)[pos_inds]
        losses = self.loss_cls(logits, targets.pos_labels, reduction_override='none')
        settings = self.train_cfg.isr
        weights = importance_weights(overlaps, targets.pos_objects, targets.pos_labels, losses, **settings)
        label_weights = targets.label_weights.clone()
        label_weights.view(-1)[pos_inds] *= weights
        return replace(targets, label_weights=label_weights)

    def score_aware_loss(self, preds: FlatPredictions, targets: DenseTargets) -> Tensor:
        """Loss of the boxes of positives, weighed by their scores."""
        every_score = self.scores(preds).flatten(0, 1)[targets.pos_inds]
        scores = every_score.gather(1, targets.pos_labels[:, None])[:, 0]
        weights = classification_aware_weights(scores, **self.train_cfg.carl)
        pred, target = self.box_pairs(preds, targets)
        losses = self.loss_bbox(pred, target, reduction_override='none')
        return (row_sums(losses) * weights).sum() / targets.avg_factor


@MODELS.register_module()
class PISARetinaHead(PrimeSamples, RetinaHead):
    """``RetinaHead`` with weighed positives; its arguments and, in ``train_cfg``, ``isr`` and ``carl``."""

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls``, ``bbox`` and ``carl``, each one value: weights are about the batch, so levels say nothing."""
        terms = super().target_losses(preds, targets, samples)
        return {name: sum(values) if isinstance(values, list) else values for name, values in terms.items()}


@MODELS.register_module()
class PISASSDHead(PrimeSamples, SSDHead):
    """``SSDHead`` with weighed positives; its arguments and, in ``train_cfg``, ``isr`` and ``carl``."""
