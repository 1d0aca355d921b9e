"""Probabilistic Anchor Assignment with IoU Prediction, arXiv 2007.08103; Label Assignment Distillation, 2108.10520."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmengine.config import ConfigDict
from torch import Tensor

from mmdetlike.models.utils import best_first, fit_two_gaussians, ranks_in_groups
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps
from mmdetlike.utils.dist import mean_over_ranks

from ..common import loss_normalizer
from .atss_head import ATSSHead
from .predictions import Candidates, DenseTargets, FlatPredictions

EPS = torch.finfo(torch.float32).eps
COVARIANCE_TYPES = ('full', 'tied', 'diag', 'spherical')


@MODELS.register_module()
class PAAHead(ATSSHead):
    """An ``ATSSHead`` that predicts IoU, not centerness, and assigns by how well predictions suit each object.

    ``train_cfg.assigner`` chooses candidates. The losses of an object's best candidates are taken for a mixture of two
    normal distributions: positive are those of the one with smaller losses, up to its most likely one.

    Args:
        topk: Candidates of each object in each level whose losses are looked at: those of the smallest.
        score_voting: In testing move each box that is kept to the mean of all boxes of its class around it, weighted
            by score and IoU. Results are then sorted by class first.
        covariance_type: ``'tied'`` for one variance of both distributions; ``'full'``, ``'diag'`` and ``'spherical'``,
            which are the same for one variable, for one each.
        kwargs: See ``ATSSHead``; ``loss_centerness`` is the loss of the IoU.

    Raises:
        ValueError: ``covariance_type`` is none of these.
    """

    map_names = ('cls_score', 'bbox_pred', 'iou_pred')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        topk: int = 9,
        score_voting: bool = True,
        covariance_type: str = 'diag',
        **kwargs,
    ) -> None:
        if covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f'covariance_type must be one of {COVARIANCE_TYPES}, got {covariance_type!r}')
        super().__init__(num_classes, in_channels, **kwargs)
        self.topk, self.score_voting, self.covariance_type = topk, score_voting, covariance_type

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> dict[str, Tensor]:
        return self.target_losses(preds, self.likely_targets(preds, samples), samples)

    @torch.no_grad()
    def likely_targets(self, preds: FlatPredictions, samples: SampleList) -> DenseTargets:
        """Targets whose positives are those of the assigner that the losses of these predictions single out."""
        candidates = self.targets(preds, samples)
        losses = self.candidate_losses(preds, candidates)
        return keep_positives(candidates, self.likely_positives(losses, candidates), self.num_classes)

    def candidate_losses(self, preds: FlatPredictions, targets: DenseTargets) -> Tensor:
        """Classification and box loss (P,) of each positive."""
        pos = targets.pos_inds
        boxes = self.bbox_coder.decode(targets.pos_priors.boxes, preds.bbox_pred.flatten(0, 1)[pos])
        weights = targets.label_weights.flatten()[pos]
        cls_score = preds.cls_score.flatten(0, 1)[pos]
        class_loss = self.loss_cls(cls_score, targets.pos_labels, weights, reduction_override='none')
        return class_loss.sum(-1) + self.loss_bbox(boxes, targets.pos_gt_bboxes, reduction_override='none')

    def likely_positives(self, losses: Tensor, targets: DenseTargets) -> Tensor:
        """(P,) whether each of the positives, which have these ``losses`` (P,), remains one."""
        objects = targets.pos_objects
        levels = targets.pos_priors.level_ids
        num_levels = len(self.prior_generator.strides)
        # level by level: else the levels with many anchors in an object would be all of its candidates
        ranks = ranks_in_groups(losses.argsort(stable=True), objects * num_levels + levels)
        inds = (ranks < self.topk).nonzero().squeeze(1)
        losses = losses[inds]
        objects = objects[inds]
        columns = ranks_in_groups(losses.argsort(stable=True), objects)  # rising losses from left to right
        # a row for each object, NaN where it has fewer candidates: all mixtures are then fitted at once
        table = losses.new_full((int(objects.amax()) + 1 if len(objects) else 0, self.topk * num_levels), torch.nan)
        table[objects, columns] = losses
        likely = torch.zeros_like(targets.pos_inds, dtype=torch.bool)
        likely[inds] = likely_columns(table, self.covariance_type == 'tied')[objects, columns]
        return likely

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` over all anchors, ``bbox`` and ``iou`` over the positives."""
        pos = targets.pos_inds
        gt_boxes = targets.pos_gt_bboxes
        boxes = self.bbox_coder.decode(targets.pos_priors.boxes, preds.bbox_pred.flatten(0, 1)[pos])
        ious = bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True)
        # also without an object there is something to learn of each image
        class_factor = mean_over_ranks(len(pos), pos.device, least=len(samples))
        return dict(
            cls=self.class_loss(preds, targets, slice(None), avg_factor=class_factor),
            bbox=self.box_loss(boxes, targets, ious),
            iou=self.loss_centerness(preds.iou_pred.flatten()[pos], ious, avg_factor=targets.num_pos),
        )

    def box_loss(self, boxes: Tensor, targets: DenseTargets, ious: Tensor) -> Tensor:
        """Loss of the positives' ``boxes`` (P, 4), which count by their ``ious`` (P,) with their objects."""
        return self.loss_bbox(boxes, targets.pos_gt_bboxes, ious, avg_factor=loss_normalizer(ious, EPS))

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Geometric mean (B, N, C) of class scores and predicted IoU, by which priors are selected too."""
        return (super().scores(preds) * preds.iou_pred.sigmoid()).sqrt()

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> Candidates:
        """All classes above ``score_thr`` of the ``nms_pre`` priors of each level that have the best class scores."""
        # all classes of a prior that is left out are below any threshold
        selected = torch.full_like(scores, -torch.inf)
        start = 0
        for best in scores.amax(1).split(num_priors):
            rows = start + best_first(best, cfg.get('nms_pre', -1))
            selected[rows] = scores[rows]
            start += len(best)
        return super().select(selected, num_priors, ConfigDict(cfg, nms_pre=-1))

    def suppress(self, candidates: Candidates, preds: FlatPredictions, cfg: ConfigDict) -> Candidates:
        """Suppress as ``DenseHead`` does, then vote, unless ``test_cfg.score_voting`` switches that off."""
        kept = super().suppress(candidates, preds, cfg)
        return vote(kept, candidates) if self.score_voting and cfg.get('score_voting', True) else kept


@MODELS.register_module()
class LADHead(PAAHead):
    """A ``PAAHead`` whose positives are chosen by the losses of a teacher, not by its own."""

    def loss_with_teacher(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, teacher_targets: DenseTargets
    ) -> dict[str, Tensor]:
        """Loss terms as of ``loss``, for the positives of a teacher at the same priors (its ``likely_targets``)."""
        return self.named_losses(self.target_losses(self.flatten(self(x)), teacher_targets, batch_data_samples))

    def box_loss(self, boxes: Tensor, targets: DenseTargets, ious: Tensor) -> Tensor:
        """Loss of the positives' ``boxes`` (P, 4), which count alike."""
        return self.loss_bbox(boxes, targets.pos_gt_bboxes, avg_factor=targets.num_pos)


def likely_columns(table: Tensor, tied: bool) -> Tensor:
    """(m, n) whether losses are those of positives: of the component of smaller losses, up to its most likely one.

    ``table`` (m, n) has the losses of the candidates of m objects, rising, NaN where there are no more. The components
    have one variance if ``tied``.
    """
    counted = ~table.isnan()
    likely = torch.zeros_like(counted)
    rows = (counted.sum(1) > 1).nonzero().squeeze(1)  # a mixture of two needs two values
    table = table[rows].nan_to_num()
    counted = counted[rows]
    joint = fit_two_gaussians(table, counted, tied)
    is_first = counted & (joint[..., 0] >= joint[..., 1])
    last = torch.where(is_first, joint.logsumexp(-1), -torch.inf).argmax(1, keepdim=True)
    likely[rows] = is_first & (torch.arange(table.shape[1], device=table.device) <= last)
    return likely


def keep_positives(targets: DenseTargets, kept: Tensor, background: int) -> DenseTargets:
    """Targets of whose positives only the ``kept`` (P,) are left; the others have the label ``background``."""
    labels = targets.labels.clone()
    labels.view(-1)[targets.pos_inds[~kept]] = background
    counts = [len(sampling.pos_inds) for sampling in targets.samplings]
    samplings = []
    for sampling, kept_here in zip(targets.samplings, kept.split(counts)):
        negatives = torch.cat([sampling.neg_inds, sampling.pos_inds[~kept_here]])
        samplings.append(replace(sampling, pos_inds=sampling.pos_inds[kept_here], neg_inds=negatives))
    return replace(
        targets,
        labels=labels,
        pos_inds=targets.pos_inds[kept],
        pos_gt_bboxes=targets.pos_gt_bboxes[kept],
        pos_priors=targets.pos_priors[kept],
        samplings=samplings,
    )


def vote(kept: Candidates, candidates: Candidates, least_iou: float = 0.01, width: float = 0.025) -> Candidates:
    """Score voting: move each kept box to the weighted mean of the candidates of its class around it, class by class.

    A candidate counts by its score and by ``exp(-(1 - IoU)^2 / width)``, from ``least_iou`` on.
    """
    # sorted as the original sorts its results
    kept = kept[kept.labels.argsort(stable=True)]
    boxes = [kept.boxes[:0]]
    for label in kept.labels.unique():
        voters = candidates[candidates.labels == label]
        ious = bbox_overlaps(kept.boxes[kept.labels == label], voters.boxes)
        shares = torch.where(ious > least_iou, (-((1 - ious) ** 2) / width).exp() * voters.scores, 0)
        boxes.append(shares @ voters.boxes / shares.sum(1, keepdim=True))
    return replace(kept, boxes=torch.cat(boxes))
