"""Prime Sample Attention in Object Detection, arXiv 1904.04821."""

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.losses.prime_samples import classification_aware_weights, importance_weights
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps

from .bbox_heads import BBoxHead
from .bbox_heads.bbox_head import BoxPreds
from .roi_head import StandardRoIHead
from .stage import Stage, StageOutputs


class PISAStage(Stage):
    """A stage whose losses weigh samples by how much they matter for the result.

    Positives and negatives are ranked (``isr`` of ``train_cfg.rcnn`` and ``ScoreHLRSampler``); a further term
    ``loss_carl`` weighs the boxes of positives by their scores (``carl``).
    """

    def terms(self, outs: StageOutputs, sampled: Sequence[SamplingResult]) -> dict[str, Tensor]:
        if 'isr' in self.cfg:
            self.weigh_positives(outs.preds, sampled, **self.cfg.isr)
        terms = super().terms(outs, sampled)
        if 'carl' in self.cfg:
            terms['loss_carl'] = self.carl_loss(outs.preds, sampled, **self.cfg.carl)
        return terms

    @torch.no_grad()
    def weigh_positives(
        self, preds: BoxPreds, sampled: Sequence[SamplingResult], k: float = 2.0, bias: float = 0.0
    ) -> None:
        """Give positives the weights of importance-based sample reweighting (ISR), which leave the sum of losses.

        ``sampled``, for which the head returned ``preds``, gets them. ``k`` is the power of the weights, ``bias`` the
        weight, before the power, of the last rank.
        """
        labels, _, pos_inds = self.head.classification_targets(sampled, -1)
        labels = labels[pos_inds]
        if not len(labels):
            return
        positives = self.head.take(preds, pos_inds)
        boxes = self.head.decode(torch.cat([result.pos_priors for result in sampled]), positives, labels, None)[0]
        targets = torch.cat([result.pos_gt_bboxes for result in sampled])
        ious = bbox_overlaps(boxes, targets, is_aligned=True)
        losses = self.head.classification_losses(positives, labels)
        weights = importance_weights(ious, objects_of_positives(sampled), labels, losses, k, bias)
        for result, of_image in zip(sampled, weights.split([len(result.pos_inds) for result in sampled])):
            result.class_weights = torch.cat([of_image, result.class_weights[len(of_image) :]])

    def carl_loss(
        self, preds: BoxPreds, sampled: Sequence[SamplingResult], k: float = 1.0, bias: float = 0.2
    ) -> Tensor:
        """The classification-aware regression loss: that of boxes, weighed by the scores, which get its gradient too.

        ``k`` is the power of the weights, ``bias`` the weight, before the power, of a score of 0.
        """
        labels, _, pos_inds = self.head.classification_targets(sampled, -1)
        if not len(pos_inds):
            return sum(pred.sum() for pred in preds) * 0
        scores = self.head.region_scores(self.head.take(preds, pos_inds))
        scores = scores.gather(1, labels[pos_inds, None])[:, 0]
        weights = classification_aware_weights(scores, k, bias)
        pred, target = self.head.regression_pair(float32_if_half(preds[1])[0], labels, pos_inds, sampled)
        losses = self.head.loss_bbox(pred, target, reduction_override='none')
        return (losses * weights[:, None]).sum() / len(labels)

    def told_to_sampler(self, x: Sequence[Tensor], image: int) -> dict:
        told = super().told_to_sampler(x, image)
        if getattr(self.sampler, 'needs_predictions', False):
            told['predict'] = functools.partial(self.predictions, x, image)
        return told

    @torch.no_grad()
    def predictions(self, x: Sequence[Tensor], image: int, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Best scores (n,) of boxes (n, 4) of an image, the boxes refined as that class, their losses as background."""
        preds = self.preds_of_boxes(x, image, boxes)
        scores, labels = self.head.region_scores(preds)[:, :-1].max(dim=1)
        refined = self.head.decode(boxes, preds, labels, None)[0]
        losses = self.head.classification_losses(preds, torch.full_like(labels, -1))
        return scores, refined, losses


def objects_of_positives(sampled: Sequence[SamplingResult]) -> Tensor:
    """The object (p,) of each positive, counted through the batch."""
    starts = itertools.accumulate((len(result.gt_bboxes) for result in sampled), initial=0)
    return torch.cat([result.pos_assigned_gt_inds + start for result, start in zip(sampled, starts)])


@MODELS.register_module()
class PISARoIHead(StandardRoIHead):
    """A region head that attends to prime samples: those on which the result depends most.

    Args:
        kwargs: See ``StandardRoIHead``; ``train_cfg.isr`` has ``k`` and ``bias`` of the weights of positives,
            ``train_cfg.carl`` those of the weights of boxes; a ``ScoreHLRSampler`` weighs negatives.

    Raises:
        ConfigError: ``bbox_head`` is no ``BBoxHead``.
    """

    stage_class = PISAStage

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.bbox_head, BBoxHead):
            kind = type(self.bbox_head).__name__
            raise ConfigError(f'PISARoIHead needs a BBoxHead, whose deltas it weighs, got {kind}')
