"""Losses of positives and of the hardest negatives alone: SSD, arXiv 1512.02325."""

import torch
from torch import Tensor

from .anchor_head import AnchorHead
from .predictions import DenseTargets, FlatPredictions, LossTerms


def mined_losses(
    head: AnchorHead, preds: FlatPredictions, targets: DenseTargets, all_without_positives: bool = False
) -> LossTerms:
    """``cls`` over positives and the hardest negatives and ``bbox`` over the positives, one value an image.

    ``head.train_cfg`` has ``neg_pos_ratio``, the number of negatives for each positive of an image. With
    ``all_without_positives`` an image without positives learns from all its negatives, not from none.
    """
    per_prior = head.loss_cls(
        preds.cls_score.flatten(0, 1),
        targets.labels.flatten(),
        targets.label_weights.flatten(),
        reduction_override='none',
    ).view_as(targets.labels)
    positive = targets.labels < head.num_classes
    ratio = head.train_cfg.get('neg_pos_ratio', 3)
    pred, target = head.box_pairs(preds, targets)
    image = torch.div(targets.pos_inds, len(preds.priors), rounding_mode='floor')
    terms = dict(cls=[], bbox=[])
    for i in range(len(per_prior)):
        pos = image == i
        limit = int(ratio * int(positive[i].sum()))
        if all_without_positives and not limit:
            limit = len(preds.priors)
        terms['cls'].append(hardest_sum(per_prior[i], positive[i], limit) / targets.avg_factor)
        terms['bbox'].append(head.loss_bbox(pred[pos], target[pos], avg_factor=targets.avg_factor))
    return terms


def hardest_sum(losses: Tensor, positive: Tensor, limit: int) -> Tensor:
    """Sum of the losses (N,) of the positives and of at most ``limit`` negatives, the largest."""
    negative = losses[~positive]
    return losses[positive].sum() + negative.topk(min(limit, len(negative))).values.sum()
