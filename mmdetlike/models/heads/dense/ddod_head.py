"""DDOD: Disentangle Your Dense Object Detector, arXiv 2107.02963."""

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import Scale, build_two_towers, run_tower
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps

from ..common import BINARY_CROSS_ENTROPY, TOWER_NORM, rare_classes_init, require_decoded_boxes
from .anchor_head import DEFAULT_ANCHORS, DELTA_CODER, SMOOTH_L1_LOSS, AnchorHead
from .predictions import DenseTargets, FlatPredictions, LevelTerm, LossTerms, positive_term


@MODELS.register_module()
class DDODHead(AnchorHead):
    """Predict classes, deltas and IoU of anchors, whose classes and boxes are assigned by an assigner each.

    ``train_cfg.assigner`` is that of classes, ``train_cfg.reg_assigner`` that of boxes and IoU. Levels with few
    positives, counted since training began, weigh up to twice as much as those with many.

    Args:
        stacked_convs: Convolutions in each of the two towers.
        conv_cfg, norm_cfg: Convolution and norm layer of the towers.
        use_dcn: Begin each tower with a deformable convolution.
        reg_decoded_bbox: Must be True: ``loss_bbox`` sees decoded boxes.
        loss_iou: Loss of the predicted IoU.
        num_classes, in_channels, feat_channels, anchor_generator, bbox_coder: As of ``AnchorHead``.
        loss_cls, loss_bbox, train_cfg, test_cfg, init_cfg: As of ``AnchorHead``.

    Raises:
        ValueError: ``reg_decoded_bbox`` is False, or ``train_cfg`` has an ``assigner`` but no ``reg_assigner``.
    """

    map_names = ('cls_score', 'bbox_pred', 'iou_pred')
    default_init = rare_classes_init('atss_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        use_dcn: bool = True,
        norm_cfg: dict | None = TOWER_NORM,
        reg_decoded_bbox: bool = True,
        loss_iou: dict = BINARY_CROSS_ENTROPY,
        feat_channels: int = 256,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DELTA_CODER,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.stacked_convs, self.use_dcn = stacked_convs, use_dcn
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        boxes = dict(anchor_generator=anchor_generator, bbox_coder=bbox_coder, reg_decoded_bbox=reg_decoded_bbox)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)
        self.loss_iou = MODELS.build(loss_iou)
        if 'assigner' in self.train_cfg:
            if 'reg_assigner' not in self.train_cfg:
                raise ValueError(f'train_cfg needs reg_assigner beside assigner, got {sorted(self.train_cfg)}')
            self.reg_assigner = TASK_UTILS.build(self.train_cfg.reg_assigner)
        # no part of checkpoints, as in the original: a resumed training counts anew
        self.register_buffer('seen_positives', torch.zeros(self.prior_generator.num_levels), persistent=False)

    def build_layers(self) -> None:
        first = dict(type='DCN', deform_groups=1) if self.use_dcn else None
        tower = (self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg, first)
        self.cls_convs, self.reg_convs = build_two_towers(*tower)
        self.atss_cls = self.build_predictor(self.cls_out_channels)
        self.atss_reg = self.build_predictor(4)
        self.atss_iou = self.build_predictor(1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        cls_feat = run_tower(self.cls_convs, x)
        reg_feat = run_tower(self.reg_convs, x)
        deltas = self.scales[level](self.atss_reg(reg_feat)).float()
        return self.atss_cls(cls_feat), deltas, self.atss_iou(reg_feat)

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> LossTerms:
        """``cls`` over all anchors, ``bbox`` and ``iou`` over the positives of boxes, one value a level."""
        # classes first: both count positives, and each weighs levels by what was counted before it and now
        class_targets = self.targets(preds, samples)
        losses = self.balanced_by_level(preds, class_targets, cls=self.class_term(preds, class_targets))
        targets = self.targets(preds, samples, assigner=self.reg_assigner)
        boxes, gt_boxes = self.box_pairs(preds, targets)
        ious = bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True)
        logits = preds.iou_pred.flatten()[targets.pos_inds]
        box_loss = positive_term(self.loss_bbox, boxes, gt_boxes, avg_factor=targets.avg_factor)
        iou_loss = positive_term(self.loss_iou, logits, ious, avg_factor=targets.avg_factor)
        return {**losses, **self.balanced_by_level(preds, targets, bbox=box_loss, iou=iou_loss)}

    def balanced_by_level(self, preds: FlatPredictions, targets: DenseTargets, **terms: LevelTerm) -> LossTerms:
        """``losses_by_level`` of the ``terms``, in which levels that have had few positives weigh more."""
        weights = self.level_weights(preds, targets)
        losses = self.losses_by_level(preds, targets, **terms)
        return {name: [loss * weight for loss, weight in zip(values, weights)] for name, values in losses.items()}

    @torch.no_grad()
    def level_weights(self, preds: FlatPredictions, targets: DenseTargets) -> Tensor:
        """Count the positives of each level, and return weights from 1 for most positives to 2 for fewest."""
        levels = preds.priors.level_ids[targets.pos_inds % len(preds.priors)]
        self.seen_positives += levels.bincount(minlength=len(self.seen_positives))
        fewest, most = self.seen_positives.aminmax()
        # all weights are 2 where levels have had equally many, also before there were any
        return 2 - (self.seen_positives - fewest) / (most - fewest + 1e-10)

    def score_factors(self, preds: FlatPredictions) -> Tensor:
        """As of ``DenseHead``: the predicted IoU."""
        return preds.iou_pred.squeeze(-1).sigmoid()
