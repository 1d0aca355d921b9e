"""Heads that classify and regress anchors: Faster R-CNN, arXiv 1506.01497."""

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.models.task_modules import anchor_inside_flags
from mmdetlike.registry import MODELS, TASK_UTILS

from .dense_head import DenseHead, DenseTargets, FlatPredictions

DEFAULT_ANCHORS = dict(type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])
DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)


@MODELS.register_module()
class AnchorHead(DenseHead):
    """One convolution each for classes and deltas of the anchors at every cell.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
        feat_channels: Channels of hidden layers, for subclasses.
        anchor_generator: Makes the anchors.
        bbox_coder: Encodes boxes against anchors.
        reg_decoded_bbox: Apply ``loss_bbox`` to decoded boxes in pixels, as IoU losses need, not to deltas.
        loss_cls: Classification loss; sigmoid or softmax as its ``use_sigmoid`` says, which FocalLoss has by default.
        loss_bbox: Regression loss.
        train_cfg: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``.
        test_cfg: ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Normal', layer='Conv2d', std=0.01))
        if num_classes < 1:
            raise ValueError(f'num_classes must be at least 1, got {num_classes}')
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.loss_cls, self.loss_bbox = MODELS.build(loss_cls), MODELS.build(loss_bbox)
        self.use_sigmoid_cls = getattr(self.loss_cls, 'use_sigmoid', False)
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        self.reg_decoded_bbox = reg_decoded_bbox
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='DeltaXYWHBBoxCoder'))
        self.train_cfg, self.test_cfg = ConfigDict(train_cfg or {}), ConfigDict(test_cfg or {})
        if 'assigner' in self.train_cfg:
            self.assigner = TASK_UTILS.build(self.train_cfg.assigner)
            self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))
        self._init_layers()

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * self.bbox_coder.encode_size, 1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, A * classes, H, W) and deltas (B, A * 4, H, W)."""
        return self.conv_cls(x), self.conv_reg(x)

    def usable_priors(self, preds: FlatPredictions, priors: Tensor, sample) -> Tensor | None:
        """Places of the anchors that lie on the image, not on padding, and cross its border little enough."""
        return usable_anchors(self, preds, priors, sample)

    def losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        """``cls`` over all priors and ``bbox`` over the positives, one value a level."""
        pred, target = self.box_pairs(preds, targets)
        terms = dict(cls=[], bbox=[])
        for rows, pos in self.levels(preds, targets.pos_inds):
            terms['cls'].append(self.class_loss(preds, targets, rows))
            terms['bbox'].append(self.loss_bbox(pred[pos], target[pos], avg_factor=targets.avg_factor))
        return terms

    def box_pairs(self, preds: FlatPredictions, targets: DenseTargets) -> tuple[Tensor, Tensor]:
        """What positives predict and should predict, (P, 4) each: deltas, or boxes with ``reg_decoded_bbox``."""
        pred = preds.bbox_pred.flatten(0, 1)[targets.pos_inds]
        if self.reg_decoded_bbox:
            return self.bbox_coder.decode(targets.pos_priors, pred), targets.pos_gt_bboxes
        return pred, self.bbox_coder.encode(targets.pos_priors, targets.pos_gt_bboxes)

    def class_loss(self, preds: FlatPredictions, targets: DenseTargets, rows: slice) -> Tensor:
        """Classification loss of the priors ``rows`` of all images."""
        return self.loss_cls(
            preds.cls_score[:, rows].flatten(0, 1),
            targets.labels[:, rows].flatten(),
            targets.label_weights[:, rows].flatten(),
            avg_factor=targets.avg_factor,
        )

    def decode(self, preds: FlatPredictions, priors: Tensor, index: int, inds: Tensor, img_shape) -> Tensor:
        """Boxes of the chosen anchors, clipped to the image."""
        return self.bbox_coder.decode(priors[inds], preds.bbox_pred[index][inds], max_shape=img_shape)


def usable_anchors(head: DenseHead, preds: FlatPredictions, anchors: Tensor, sample) -> Tensor | None:
    """Places of the ``anchors`` (N, 4) on the image, not on padding, that cross its border by ``allowed_border``."""
    border = head.train_cfg.get('allowed_border', -1)
    pad_shape = sample.metainfo.get('pad_shape', sample.img_shape)
    covered = tuple(pad_shape[:2]) == tuple(sample.metainfo.get('batch_input_shape', pad_shape)[:2])
    if covered and border < 0:
        return None
    valid = torch.cat(head.prior_generator.valid_flags(preds.featmap_sizes, pad_shape, anchors.device))
    return anchor_inside_flags(anchors, valid, sample.img_shape, border).nonzero().squeeze(1)


def check_one_prior(head: DenseHead) -> None:
    """Raise a ``ValueError`` unless there is one prior at a cell, as heads need whose layers are about cells."""
    counts = head.prior_generator.num_base_priors
    if set(counts) != {1}:
        raise ValueError(f'{type(head).__name__} needs one anchor at a cell, but anchor_generator makes {counts}')


def box_centres(boxes: Tensor) -> Tensor:
    """The centres (..., 2) x, y of boxes (..., 4) xyxy."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2
