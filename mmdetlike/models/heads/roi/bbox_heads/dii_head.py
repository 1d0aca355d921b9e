"""The head of learned proposals: Sparse R-CNN, arXiv 2011.12450."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.models.layers import run_tower
from mmdetlike.models.layers.transformer import FFN, MultiheadAttention
from mmdetlike.models.losses import accuracy
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.utils.dist import mean_over_ranks

from .region_head import RegionHead

DEFAULT_ACT = dict(type='ReLU', inplace=True)
DEFAULT_DYNAMIC_CONV = dict(
    type='DynamicConv',
    in_channels=256,
    feat_channels=64,
    out_channels=256,
    input_feat_shape=7,
    act_cfg=DEFAULT_ACT,
    norm_cfg=dict(type='LN'),
)
DEFAULT_CODER = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.5, 0.5, 1.0, 1.0], clip_border=False)
DEFAULT_LOSS_CLS = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0)
DEFAULT_LOSS_BBOX = dict(type='L1Loss', loss_weight=5.0)
DEFAULT_LOSS_IOU = dict(type='GIoULoss', loss_weight=2.0)


class QueryPreds(NamedTuple):
    """Predictions for n queries of a batch, image by image.

    Attributes:
        cls_score: (n, num_classes) logits, with one more for background where the loss is a softmax.
        bboxes: (n, 4) xyxy in pixels.
        features: (n, C) what the next stage's queries are.
        attended: (n, C) the queries after they have seen each other, before they have seen the image.
    """

    cls_score: Tensor
    bboxes: Tensor
    features: Tensor
    attended: Tensor


@MODELS.register_module()
class DIIHead(RegionHead):
    """Dynamic Instance Interactive head: queries see each other, then each its region through a kernel of its own.

    Args:
        num_classes: As of ``RegionHead``.
        num_ffn_fcs, feedforward_channels: Linear layers and hidden channels of the feed-forward network.
        ffn_act_cfg: Activation of the feed-forward network.
        num_heads: Heads of the attention.
        num_cls_fcs, num_reg_fcs: Linear layers for classes and for boxes.
        in_channels: Channels of queries and region features.
        dropout: Probability of dropping an element.
        dynamic_conv_cfg: The layer that filters region features with kernels made from queries.
        bbox_coder: Encodes boxes against the queries' boxes.
        loss_cls: Classification loss.
        loss_bbox, loss_iou: Loss of boxes in shares of the image, and of their overlap.
    """

    takes_objectness = False

    def __init__(
        self,
        num_classes: int = 80,
        num_ffn_fcs: int = 2,
        num_heads: int = 8,
        num_cls_fcs: int = 1,
        num_reg_fcs: int = 3,
        feedforward_channels: int = 2048,
        in_channels: int = 256,
        dropout: float = 0.0,
        ffn_act_cfg: dict = DEFAULT_ACT,
        dynamic_conv_cfg: dict = DEFAULT_DYNAMIC_CONV,
        bbox_coder: dict = DEFAULT_CODER,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        loss_iou: dict = DEFAULT_LOSS_IOU,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, loss_cls, init_cfg)
        self.in_channels = in_channels
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_iou = MODELS.build(loss_iou)
        self.use_sigmoid = getattr(self.loss_cls, 'use_sigmoid', False)
        self.attention = MultiheadAttention(in_channels, num_heads, dropout=dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(in_channels)
        self.instance_interactive_conv = MODELS.build(dynamic_conv_cfg)
        self.instance_interactive_conv_dropout = nn.Dropout(dropout)
        self.instance_interactive_conv_norm = nn.LayerNorm(in_channels)
        self.ffn = FFN(in_channels, feedforward_channels, num_ffn_fcs, act_cfg=ffn_act_cfg, ffn_drop=dropout)
        self.ffn_norm = nn.LayerNorm(in_channels)
        self.cls_fcs = self._build_fcs(num_cls_fcs)
        self.reg_fcs = self._build_fcs(num_reg_fcs)
        self.fc_cls = nn.Linear(in_channels, num_classes + (0 if self.use_sigmoid else 1))
        self.fc_reg = nn.Linear(in_channels, self.bbox_coder.encode_size)
        if init_cfg is None:
            rare = [dict(type='Xavier', distribution='uniform', name='fc_cls', bias=-math.log(0.99 / 0.01))]
            overrides = dict(override=rare) if self.use_sigmoid else {}
            self.init_cfg = dict(type='Xavier', layer='Linear', distribution='uniform', **overrides)

    def _build_fcs(self, count: int) -> nn.ModuleList:
        layers = nn.ModuleList()
        for _ in range(count):
            linear = nn.Linear(self.in_channels, self.in_channels, bias=False)
            layers.extend([linear, nn.LayerNorm(self.in_channels), nn.ReLU(inplace=True)])
        return layers

    def forward(self, roi_feat: Tensor, proposal_feat: Tensor, rois: Tensor) -> QueryPreds:
        """Classify queries ``proposal_feat`` (B, Q, C) and refine their boxes.

        ``roi_feat`` (B * Q, C, h, w) are the features of their regions ``rois`` (B * Q, 5), image index and xyxy in
        pixels, image by image.
        """
        attended = self.attention_norm(self.attention(proposal_feat)).flatten(0, 1)
        interaction = self.instance_interactive_conv(attended, roi_feat)
        x = attended + self.instance_interactive_conv_dropout(interaction)
        features = self.ffn_norm(self.ffn(self.instance_interactive_conv_norm(x)))
        cls_score = self.fc_cls(run_tower(self.cls_fcs, features))
        deltas = float32_if_half(self.fc_reg(run_tower(self.reg_fcs, features)))[0]
        bboxes = self.bbox_coder.decode(rois[:, 1:], deltas)
        return QueryPreds(cls_score, bboxes, features, attended)

    def split(self, preds: QueryPreds, counts: Sequence[int]) -> list[QueryPreds]:
        return [QueryPreds(*columns) for columns in super().split(preds, counts)]

    def merge_stages(self, preds_of_stages: Sequence[QueryPreds]) -> QueryPreds:
        """What is predicted in testing: the last stage's predictions."""
        return preds_of_stages[-1]

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(
        self,
        preds: QueryPreds,
        sampled: Sequence[SamplingResult],
        cfg: ConfigDict,
        image_sizes: Sequence[tuple[int, int]],
    ) -> dict[str, Tensor]:
        """Loss terms of all queries, of images whose height and width are ``image_sizes``; see ``RegionHead``."""
        labels, weights, pos_inds = self.query_targets(sampled, cfg.get('pos_weight', -1))
        cls_score = float32_if_half(preds.cls_score)[0]
        avg_factor = mean_over_ranks(len(pos_inds), labels.device, least=1.0)
        losses = dict(loss_cls=self.loss_cls(cls_score, labels, weights, avg_factor=avg_factor))
        losses['pos_acc'] = accuracy(cls_score[pos_inds], labels[pos_inds])
        bboxes = preds.bboxes[pos_inds]
        targets = torch.cat([result.pos_gt_bboxes for result in sampled])
        scales = torch.cat(
            [
                bboxes.new_tensor([width, height, width, height]).expand(len(result.pos_inds), 4)
                for result, (height, width) in zip(sampled, image_sizes)
            ]
        )
        losses['loss_bbox'] = self.loss_bbox(bboxes / scales, targets / scales, avg_factor=avg_factor)
        losses['loss_iou'] = self.loss_iou(bboxes, targets, avg_factor=avg_factor)
        return losses

    def query_targets(self, sampled: Sequence[SamplingResult], pos_weight: float) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (n,), weights (n,) and indices of the positives (p,) of all queries, in their order."""
        starts = [0, *itertools.accumulate(len(result.priors) for result in sampled)]
        pos_inds = torch.cat([result.pos_inds + start for result, start in zip(sampled, starts)])
        labels = pos_inds.new_full((starts[-1],), self.num_classes)
        labels[pos_inds] = torch.cat([result.pos_gt_labels for result in sampled])
        weights = torch.ones(len(labels), device=labels.device)
        if pos_weight > 0:
            weights[pos_inds] = pos_weight
        return labels, weights, pos_inds

    # -- testing -----------------------------------------------------------------------------------------------------

    @staticmethod
    def take(preds: QueryPreds, inds: Tensor | slice) -> QueryPreds:
        return QueryPreds(*RegionHead.take(preds, inds))

    def detect(self, rois: Tensor, preds: QueryPreds, img_shape: tuple[int, int], cfg: ConfigDict) -> dict[str, Tensor]:
        """The ``max_per_img`` best pairs of a query and a class of one image; nothing is suppressed.

        Beside what ``RegionHead`` finds, ``query_features`` (k, C) for the branches.
        """
        logits = float32_if_half(preds.cls_score)[0]
        scores = logits.sigmoid() if self.use_sigmoid else logits.softmax(-1)[:, :-1]
        best, inds = scores.flatten().topk(min(cfg.max_per_img, scores.numel()))
        queries = torch.div(inds, self.num_classes, rounding_mode='floor')
        found = dict(
            bboxes=preds.bboxes[queries],
            scores=best,
            labels=inds % self.num_classes,
            query_features=preds.attended[queries],
        )
        if cfg.get('return_all_scores', False):
            found['all_scores'] = scores[queries]
        return found
