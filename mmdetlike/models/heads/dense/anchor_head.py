"""Heads that classify and regress anchors: Faster R-CNN, arXiv 1506.01497."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from ..common import BINARY_CROSS_ENTROPY
from .base import DenseHead
from .predictions import DenseTargets, FlatPredictions, LossTerms, positive_term

DEFAULT_ANCHORS = dict(type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])
DELTA_CODER = dict(type='DeltaXYWHBBoxCoder')
# beta as in Faster R-CNN, whose sigma of 3 for proposals is 1 / sqrt(beta)
SMOOTH_L1_LOSS = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)


@MODELS.register_module()
class AnchorHead(DenseHead):
    """Classify and regress the anchors at every cell by one 1x1 convolution each.

    Args:
        anchor_generator: Makes the anchors.
        reg_decoded_bbox: Apply ``loss_bbox`` to decoded boxes in pixels, as IoU losses need, not to deltas.
        num_classes, in_channels, feat_channels, bbox_coder, loss_cls, loss_bbox: As of ``DenseHead``.
        train_cfg, test_cfg, init_cfg: As of ``DenseHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        feat_channels: int = 256,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DELTA_CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        self.reg_decoded_bbox = reg_decoded_bbox
        boxes = dict(prior_generator=anchor_generator, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * self.bbox_coder.encode_size, 1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, A * classes, H, W) and deltas (B, A * 4, H, W)."""
        return self.conv_cls(x), self.conv_reg(x)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over all priors, if classes are predicted, and ``bbox`` over the positives, one value a level."""
        pred, target = self.box_pairs(preds, targets)
        terms = dict(bbox=positive_term(self.loss_bbox, pred, target, avg_factor=targets.avg_factor))
        # the first stages of Cascade RPN move anchors without classifying them
        if 'cls_score' in preds.maps:
            terms = dict(cls=self.class_term(preds, targets), **terms)
        return self.losses_by_level(preds, targets, **terms)

    def box_pairs(self, preds: FlatPredictions, targets: DenseTargets) -> tuple[Tensor, Tensor]:
        """Predictions and targets of the positives, (P, 4) each: deltas, or boxes with ``reg_decoded_bbox``."""
        pred = preds.bbox_pred.flatten(0, 1)[targets.pos_inds]
        references = self.references(targets.pos_priors)
        if self.reg_decoded_bbox:
            return self.bbox_coder.decode(references, pred), targets.pos_gt_bboxes
        return pred, self.bbox_coder.encode(references, targets.pos_gt_bboxes)


def add_approximations(rows: InstanceData, approx_generator, preds: FlatPredictions) -> InstanceData:
    """``rows``, one for each of N priors, with ``approxs`` (N, A, 4): the A anchors of the generator at its cell."""
    levels = approx_generator.grid_priors(preds.featmap_sizes, device=preds.priors.points.device)
    rows.approxs = torch.cat(levels).view(len(rows), -1, 4)
    return rows


def check_one_prior(head: DenseHead) -> None:
    """Raise a ``ValueError`` unless there is one prior at each cell, as heads need that predict once for a cell."""
    counts = head.prior_generator.num_base_priors
    if set(counts) != {1}:
        raise ValueError(f'{type(head).__name__} needs one anchor at a cell, but anchor_generator makes {counts}')
