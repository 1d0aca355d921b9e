"""Side-Aware Boundary Localization for More Precise Object Detection, arXiv 1912.04260: the one-stage head."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_two_towers
from mmdetlike.models.task_modules import Priors
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import DetDataSample, SampleList

from ..common import FOCAL_LOSS, rare_classes_init
from .anchor_head import add_approximations, check_one_prior
from .base import DenseHead
from .predictions import DenseTargets, FlatPredictions, LossTerms, positive_term
from .retina_head import RETINA_ANCHORS

DEFAULT_SQUARES = dict(type='AnchorGenerator', ratios=[1.0], scales=[4], strides=RETINA_ANCHORS['strides'])
BUCKETING_CODER = dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=3.0)
DEFAULT_LOSS_BUCKETS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.5)
DEFAULT_LOSS_OFFSETS = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.5)


@MODELS.register_module()
class SABLRetinaHead(DenseHead):
    """Classes of one square anchor at each cell, and for each side of its box a bucket and an offset from its middle.

    Args:
        stacked_convs, feat_channels: Convolutions in each of the two towers, and their channels.
        approx_anchor_generator: Anchors by whose overlap objects are assigned, several at a cell.
        square_anchor_generator: Anchors whose sides are moved, one at a cell.
        conv_cfg, norm_cfg: Convolution and norm layer of the towers.
        bbox_coder: A ``BucketingBBoxCoder``.
        reg_decoded_bbox: Must be False: losses compare buckets and offsets.
        loss_bbox_cls, loss_bbox_reg: Losses of bucket logits and of offsets.
        kwargs: See ``DenseHead``; ``train_cfg.assigner`` is an ``ApproxMaxIoUAssigner``.

    Raises:
        ConfigError: ``reg_decoded_bbox`` is True.
        ValueError: ``square_anchor_generator`` makes several anchors at a cell.
    """

    map_names = ('cls_score', 'offsets', 'buckets')
    default_init = rare_classes_init('retina_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        approx_anchor_generator: dict = RETINA_ANCHORS,
        square_anchor_generator: dict = DEFAULT_SQUARES,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        bbox_coder: dict = BUCKETING_CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = FOCAL_LOSS,
        loss_bbox_cls: dict = DEFAULT_LOSS_BUCKETS,
        loss_bbox_reg: dict = DEFAULT_LOSS_OFFSETS,
        **kwargs,
    ) -> None:
        if reg_decoded_bbox:
            raise ConfigError('reg_decoded_bbox must be False: SABLRetinaHead compares buckets and offsets, got True')
        self.stacked_convs = stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        parts = dict(prior_generator=square_anchor_generator, bbox_coder=bbox_coder, loss_cls=loss_cls)
        super().__init__(num_classes, in_channels, feat_channels, **parts, **kwargs)
        check_one_prior(self)
        self.approx_generator = TASK_UTILS.build(approx_anchor_generator)
        self.loss_bbox_cls = MODELS.build(loss_bbox_cls)
        self.loss_bbox_reg = MODELS.build(loss_bbox_reg)

    def build_layers(self) -> None:
        tower = (self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)
        self.cls_convs, self.reg_convs = build_two_towers(*tower)
        self.retina_cls = self.build_predictor(self.cls_out_channels)
        self.retina_bbox_reg = self.build_predictor(self.bbox_coder.encode_size)
        self.retina_bbox_cls = self.build_predictor(self.bbox_coder.encode_size)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, offsets and bucket logits of the four sides."""
        return self.retina_cls(cls_feat), self.retina_bbox_reg(reg_feat), self.retina_bbox_cls(reg_feat)

    def candidates(self, preds: FlatPredictions, priors: Priors, sample: DetDataSample, assigner) -> InstanceData:
        """As of ``DenseHead``, with the anchors whose overlaps decide."""
        return add_approximations(super().candidates(preds, priors, sample, assigner), self.approx_generator, preds)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over all anchors, ``bbox_cls`` and ``bbox_reg`` over the sides of positives, one value a level."""
        codes = self.bbox_coder.encode(targets.pos_priors.boxes, targets.pos_gt_bboxes)
        offsets = preds.offsets.flatten(0, 1)[targets.pos_inds]
        buckets = preds.buckets.flatten(0, 1)[targets.pos_inds]
        num_sides = targets.avg_factor * 4
        num_buckets = num_sides * self.bbox_coder.side_num
        num_offsets = num_sides * self.bbox_coder.offset_topk
        class_loss = self.class_term(preds, targets)
        bucket_loss = positive_term(
            self.loss_bbox_cls, buckets, codes.labels, codes.label_weights, avg_factor=num_buckets
        )
        offset_loss = positive_term(
            self.loss_bbox_reg, offsets, codes.offsets, codes.offset_weights, avg_factor=num_offsets
        )
        return self.losses_by_level(preds, targets, cls=class_loss, bbox_cls=bucket_loss, bbox_reg=offset_loss)

    def score_factors(self, preds: FlatPredictions) -> Tensor:
        """(B, N) how surely the sides of each box are known."""
        every = torch.arange(len(preds.priors), device=preds.buckets.device)
        return torch.stack([self.boxes_and_confidences(preds, i, every)[1] for i in range(len(preds.buckets))])

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape) -> Tensor:
        """As of ``DenseHead``, from buckets and offsets."""
        return self.boxes_and_confidences(preds, index, inds, img_shape)[0]

    def boxes_and_confidences(
        self, preds: FlatPredictions, index: int, inds: Tensor, img_shape=None
    ) -> tuple[Tensor, Tensor]:
        """Boxes (n, 4) of the priors ``inds`` (n,) of image ``index``, and how surely their sides are known (n,)."""
        priors = preds.priors[inds].boxes
        return self.bbox_coder.decode(priors, preds.buckets[index][inds], preds.offsets[index][inds], img_shape)
