"""Head of SSD: Single Shot MultiBox Detector, arXiv 1512.02325, and of SSDLite in MobileNetV2, arXiv 1801.04381."""

from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, build_tower, conv_class
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .anchor_head import AnchorHead
from .predictions import Candidates, DenseTargets, FlatPredictions, LossTerms, best_above

SSD_ANCHORS = dict(
    type='SSDAnchorGenerator',
    scale_major=False,
    input_size=300,
    strides=[8, 16, 32, 64, 100, 300],
    ratios=([2], [2, 3], [2, 3], [2, 3], [2], [2]),
    basesize_ratio_range=(0.1, 0.9),
)
SSD_CODER = dict(type='DeltaXYWHBBoxCoder', clip_border=True)


@MODELS.register_module()
class SSDHead(AnchorHead):
    """Predict classes with background and deltas of anchors, by layers of each level's own; mine hard negatives.

    Args:
        in_channels: Channels of each level's feature map.
        stacked_convs: Convolutions before the predicting ones.
        use_depthwise: Use depthwise separable convolutions (SSDLite).
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.
        num_classes, feat_channels, anchor_generator, bbox_coder, reg_decoded_bbox, init_cfg: As of ``AnchorHead``.
        train_cfg: Settings of ``AnchorHead``; ``neg_pos_ratio``, the number of negatives for each positive of an image;
            ``smoothl1_beta``, the ``beta`` of the loss of boxes.
        test_cfg: As of ``AnchorHead``; with ``nms_pre_of_class`` so many candidates of each class, over all levels, are
            selected, in place of ``nms_pre`` of each level.

    Raises:
        ValueError: ``in_channels`` are not as many as the anchors' levels.
    """

    default_init = dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0)

    def __init__(
        self,
        num_classes: int = 80,
        in_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        stacked_convs: int = 0,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        anchor_generator: dict = SSD_ANCHORS,
        bbox_coder: dict = SSD_CODER,
        train_cfg: dict | None = None,
        feat_channels: int = 256,
        reg_decoded_bbox: bool = False,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        self.stacked_convs, self.use_depthwise = stacked_convs, use_depthwise
        self.common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        # losses are no arguments in the toolbox either; the beta of `loss_bbox` comes with `train_cfg`
        loss_bbox = dict(type='SmoothL1Loss', beta=(train_cfg or {}).get('smoothl1_beta', 1.0))
        losses = dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False), loss_bbox=loss_bbox)
        boxes = dict(anchor_generator=anchor_generator, bbox_coder=bbox_coder, reg_decoded_bbox=reg_decoded_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        anchors = self.prior_generator.num_base_priors
        if len(anchors) != len(self.in_channels):
            raise ValueError(
                f'in_channels must have {len(anchors)} entries, one a level of anchors, got {self.in_channels}'
            )
        levels = list(zip(self.in_channels, anchors))
        self.cls_convs = nn.ModuleList(self.build_branch(c, a * self.cls_out_channels) for c, a in levels)
        self.reg_convs = nn.ModuleList(self.build_branch(c, a * self.bbox_coder.encode_size) for c, a in levels)

    def build_branch(self, channels: int, out_channels: int) -> nn.Sequential:
        """Layers that predict ``out_channels`` for one level."""
        block = conv_class(self.use_depthwise)
        layers = build_tower(channels, self.feat_channels, self.stacked_convs, block=block, **self.common)
        channels = self.feat_channels if self.stacked_convs else channels
        if self.use_depthwise:
            layers.append(ConvModule(channels, channels, 3, padding=1, groups=channels, **self.common))
        kernel_size = 1 if self.use_depthwise else 3
        return nn.Sequential(*layers, nn.Conv2d(channels, out_channels, kernel_size, padding=kernel_size // 2))

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes and background (B, A * (classes + 1), H, W) and deltas (B, A * 4, H, W)."""
        return self.cls_convs[level](x), self.reg_convs[level](x)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over positives and the hardest negatives and ``bbox`` over the positives, one value an image."""
        return mined_losses(self, preds, targets)

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> Candidates:
        """The best pairs of prior and class above ``score_thr``; see ``DenseHead`` and ``nms_pre_of_class``."""
        limit = cfg.get('nms_pre_of_class', -1)
        if limit < 0:
            return super().select(scores, num_priors, cfg)
        if torch.compiler.is_compiling():  # which knows no number of candidates
            best, prior_inds = scores.topk(min(limit, len(scores)), dim=0)
            rows, labels = (best > cfg.score_thr).nonzero(as_tuple=True)
            return Candidates(best[rows, labels], labels, prior_inds[rows, labels])
        # class by class, of what is above the threshold: that is the order in which torchvision has equal scores
        inds = [best_above(column, cfg.score_thr, limit, _topk) for column in scores.T]
        counts = torch.tensor([len(of_class) for of_class in inds], device=scores.device)
        labels = torch.arange(len(inds), device=scores.device).repeat_interleave(counts)
        prior_inds = torch.cat(inds)
        return Candidates(scores[prior_inds, labels], labels, prior_inds)


def _topk(values: Tensor, limit: int) -> Tensor:
    return values.topk(min(limit, len(values))).indices


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
        negatives = per_prior[i][~positive[i]]
        hardest = negatives.topk(min(limit, len(negatives))).values.sum()
        terms['cls'].append((per_prior[i][positive[i]].sum() + hardest) / targets.avg_factor)
        terms['bbox'].append(head.loss_bbox(pred[pos], target[pos], avg_factor=targets.avg_factor))
    return terms
