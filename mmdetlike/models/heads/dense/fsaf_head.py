"""FSAF: Feature Selective Anchor-Free Module for Single-Shot Object Detection, arXiv 1903.00621."""

import torch
from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.utils.dist import mean_over_ranks

from .predictions import DenseTargets, FlatPredictions, LossTerms, among_all
from .retina_head import RetinaHead

# a box whose sides touch its anchor's center has no area, and an IoU of 0 no gradient
LEAST_DISTANCE = 1e-4


@MODELS.register_module()
class FSAFHead(RetinaHead):
    """Learn each object on the level where its loss is smallest; a ``RetinaHead`` that predicts distances.

    Args:
        score_threshold: Best score that a positive needs to count as recalled in ``pos_recall``, which is logged.
    """

    loss_prefix = ''

    def __init__(self, num_classes: int, in_channels: int, *, score_threshold: float | None = None, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.score_threshold = score_threshold

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, and distances, which are not negative."""
        cls_score, bbox_pred = super().forward_level(level, x)
        return cls_score, bbox_pred.relu()

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``loss_cls`` and ``loss_bbox``, one value a level, and what is logged: ``num_pos``, ``pos_recall``."""
        # every loss is needed by itself: they say which level learns an object
        class_loss = self.loss_cls(
            preds.cls_score.flatten(0, 1),
            targets.labels.flatten(),
            self.class_weights(preds, targets, samples).flatten(0, 1),
            reduction_override='none',
        )
        distances = preds.bbox_pred.flatten(0, 1)[targets.pos_inds].clamp(min=LEAST_DISTANCE)
        boxes = self.bbox_coder.decode(self.references(targets.pos_priors), distances)
        box_loss = self.loss_bbox(boxes, targets.pos_gt_bboxes, reduction_override='none')
        chosen = self.in_best_level(class_loss[targets.pos_inds].sum(1) + box_loss, targets)
        # elsewhere an object is neither learned nor background
        others = targets.pos_inds[~chosen], targets.pos_labels[~chosen]
        class_loss = class_loss.index_put(others, class_loss.new_zeros(()))
        num_pos = chosen.sum()
        # without an object only background is summed up, so it is divided by the number of negatives
        count = torch.where(num_pos > 0, num_pos, sum(len(sampling.neg_inds) for sampling in targets.samplings))
        factor = mean_over_ranks(count.float(), count.device, least=1.0)
        by_prior = class_loss.sum(1).view_as(targets.labels)
        box_loss = box_loss * chosen
        levels = preds.levels(targets.pos_inds)
        return dict(
            loss_cls=[by_prior[:, rows].sum() / factor for rows, _ in levels],
            loss_bbox=[box_loss[pos].sum() / factor for _, pos in levels],
            num_pos=num_pos / len(samples),
            pos_recall=self.recall(preds, targets, chosen),
        )

    def class_weights(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> Tensor:
        """(B, N, C) weights in the classification loss: 0 for the classes of objects whose shadow an anchor is in.

        The shadow is what surrounds an object's core, see ``CenterRegionAssigner``.
        """
        weights = targets.label_weights[..., None].repeat(1, 1, self.num_classes)
        for i, (sample, sampling) in enumerate(zip(samples, targets.samplings)):
            rows, labels = sampling.assign_result.shadowed.unbind(1)
            usable = self.usable_priors(preds, preds.priors.of_image(i), sample)
            weights[i, among_all(usable, rows), labels] = 0
        return weights

    @torch.no_grad()
    def in_best_level(self, losses: Tensor, targets: DenseTargets) -> Tensor:
        """(P,) whether a positive is in the level in which the mean of these ``losses`` (P,) of its object is least."""
        objects = targets.pos_objects
        levels = targets.pos_priors.level_ids
        # a table of objects and levels, flat, so that one sum over groups fills it
        shape = (int(objects.amax()) + 1 if len(objects) else 0, self.prior_generator.num_levels)
        groups = objects * shape[1] + levels
        sums = losses.new_zeros(shape).view(-1).index_add_(0, groups, losses)
        counts = groups.bincount(minlength=len(sums))
        means = torch.where(counts > 0, sums / counts, torch.inf)
        return levels == means.view(shape).argmin(1)[objects]

    @torch.no_grad()
    def recall(self, preds: FlatPredictions, targets: DenseTargets, chosen: Tensor) -> Tensor:
        """The share of the ``chosen`` (P,) positives whose best class is the right one."""
        best, labels = self.scores(preds).flatten(0, 1)[targets.pos_inds[chosen]].max(1)
        is_right = labels == targets.pos_labels[chosen]
        if self.score_threshold is not None:
            is_right &= best > self.score_threshold
        return is_right.sum() / chosen.sum().clamp(min=1)
