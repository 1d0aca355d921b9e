"""The one pipeline of query heads: predictions of every layer -> matching -> losses, or the best of the last layer.

DETR: End-to-End Object Detection with Transformers, arXiv 2005.12872; Deformable DETR, arXiv 2010.04159; DINO, arXiv
2203.03605.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.model import bias_init_with_prob, constant_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import FFN, DenoisingQueries, mlp, move
from mmdetlike.models.losses import QualityFocalLoss
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import (
    bbox_cxcywh_to_xyxy,
    bbox_overlaps,
    bbox_xyxy_to_cxcywh,
    get_box_tensor,
    scale_boxes,
)
from mmdetlike.utils.dist import mean_over_ranks

from ..common import match_queries, prefix_losses
from ..head import Head

DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, class_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='L1Loss', loss_weight=5.0)
DEFAULT_LOSS_IOU = dict(type='GIoULoss', loss_weight=2.0)


@dataclass
class QueryOutputs:
    """What the transformer of a query-based detector hands to its head.

    Attributes:
        hidden_states: Queries (B, Q, C) after each decoder layer.
        references: What each layer's boxes are relative to, (B, Q, 2 or 4) in [0, 1]; empty where they are absolute.
        enc_cls_score: (B, S, classes) logits of the encoder's proposals, None without two stages.
        enc_bbox_pred: (B, S, 4) their boxes, cx, cy, w, h in [0, 1].
        denoising: What the first queries are made of; None without denoising.
    """

    hidden_states: list[Tensor]
    references: list[Tensor]
    enc_cls_score: Tensor | None = None
    enc_bbox_pred: Tensor | None = None
    denoising: DenoisingQueries | None = None


@dataclass
class QueryTargets:
    """What queries should predict; P positives among the B * Q queries.

    Attributes:
        labels: (B, Q) class of each query, ``num_classes`` for background.
        weights: (B, Q) weight of each query in the classification loss.
        pos_inds: (P,) places of the positives in the flattened (B * Q) queries.
        pos_gt_bboxes: (P, 4) their objects' boxes, xyxy in pixels.
        pos_sizes: (P, 4) width, height, width, height of their images.
        num_neg: Negatives.
    """

    labels: Tensor
    weights: Tensor
    pos_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_sizes: Tensor
    num_neg: int


class QueryHead(Head):
    """Base of the heads that predict one object for each query.

    A subclass makes its layers in ``_init_layers`` and supplies ``predict_layer``; ``binary_proposals`` says whether
    the encoder's proposals tell objects from background alone.

    Args:
        embed_dims: Channels of a query.
        num_reg_fcs: Hidden linear layers before the boxes.
        sync_cls_avg_factor: Average what the classification loss is divided by over processes.
        loss_cls: Classification loss; with softmax ``bg_cls_weight`` is the weight of background.
        loss_bbox: Loss of normalised boxes.
        loss_iou: Loss of boxes in pixels.
        kwargs: See ``Head``; ``test_cfg`` has ``max_per_img``.
    """

    binary_proposals = False

    def __init__(
        self,
        num_classes: int,
        embed_dims: int = 256,
        num_reg_fcs: int = 2,
        sync_cls_avg_factor: bool = False,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        loss_iou: dict = DEFAULT_LOSS_IOU,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        self.embed_dims, self.num_reg_fcs = embed_dims, num_reg_fcs
        self.sync_cls_avg_factor = sync_cls_avg_factor
        self.loss_cls, self.bg_cls_weight = build_class_loss(loss_cls, num_classes)
        self.loss_bbox, self.loss_iou = MODELS.build(loss_bbox), MODELS.build(loss_iou)
        self.use_sigmoid_cls = getattr(self.loss_cls, 'use_sigmoid', False)
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        self._init_layers()

    def predict_layer(self, layer: int, hidden: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes) and boxes (B, Q, 4) cx, cy, w, h in [0, 1] after a decoder layer."""
        raise NotImplementedError

    def forward(self, outs: QueryOutputs) -> list[tuple[Tensor, Tensor]]:
        """Class logits and boxes of every decoder layer, in float32 also under autocast."""
        references = outs.references or [None] * len(outs.hidden_states)
        pairs = enumerate(zip(outs.hidden_states, references))
        return [float32_if_half(*self.predict_layer(i, hidden, reference)) for i, (hidden, reference) in pairs]

    def loss(self, outs: QueryOutputs, samples: SampleList) -> dict[str, Tensor]:
        """Loss terms of all layers: ``loss_*`` of the last one, ``d0.loss_*``, ... of the others.

        Terms of the encoder's proposals begin with ``enc_``, those of denoising queries with ``dn_``.
        """
        layers, losses = self(outs), {}
        noisy = 0 if outs.denoising is None else outs.denoising.count
        for layer, (cls_score, bbox_pred) in enumerate(layers):
            targets = self.match(cls_score[:, noisy:], bbox_pred[:, noisy:], samples)
            terms = self.losses(cls_score[:, noisy:], bbox_pred[:, noisy:], targets)
            losses.update(prefix_losses(terms, layer, len(layers)))
        if outs.enc_cls_score is not None:
            losses.update(self.encoder_loss(*float32_if_half(outs.enc_cls_score, outs.enc_bbox_pred), samples))
        if outs.denoising is not None:
            # also where there are no objects: all processes of a training must compute the same terms
            targets = denoising_targets(outs.denoising, samples, self.num_classes)
            for layer, (cls_score, bbox_pred) in enumerate(layers):
                terms = self.losses(cls_score[:, :noisy], bbox_pred[:, :noisy], targets)
                losses.update(prefix_losses(terms, layer, len(layers), 'dn_'))
        return losses

    def encoder_loss(self, cls_score: Tensor, bbox_pred: Tensor, samples: SampleList) -> dict[str, Tensor]:
        """Loss terms of the encoder's proposals."""
        targets = self.match(cls_score, bbox_pred, samples, self.binary_proposals)
        return prefix_losses(self.losses(cls_score, bbox_pred, targets), prefix='enc_')

    @torch.no_grad()
    def match(self, cls_score: Tensor, bbox_pred: Tensor, samples: SampleList, binary: bool = False) -> QueryTargets:
        """One query for each object; ``binary`` takes all objects for the first class."""
        found = []
        for logits, boxes, sample in zip(cls_score, bbox_pred, samples):
            gt_instances = sample.gt_instances
            if binary:
                gt_instances = InstanceData(bboxes=gt_instances.bboxes, labels=torch.zeros_like(gt_instances.labels))
            boxes = bbox_cxcywh_to_xyxy(boxes) * image_size(sample, boxes)
            found.append(match_queries(self.assigner, InstanceData(scores=logits, bboxes=boxes), gt_instances, sample))
        return query_targets(found, samples, cls_score.shape[1], self.num_classes, binary)

    def losses(self, cls_score: Tensor, bbox_pred: Tensor, targets: QueryTargets) -> dict[str, Tensor]:
        """``cls`` of all queries, ``bbox`` and ``iou`` of the positives."""
        device, num_pos = cls_score.device, len(targets.pos_inds)
        avg_factor = num_pos + targets.num_neg * self.bg_cls_weight
        if self.sync_cls_avg_factor:
            avg_factor = mean_over_ranks(avg_factor, device)
        boxes, gt_boxes = bbox_pred.flatten(0, 1)[targets.pos_inds], targets.pos_gt_bboxes
        corners = bbox_cxcywh_to_xyxy(boxes) * targets.pos_sizes
        loss_cls = self.class_loss(cls_score, corners, targets, max(avg_factor, 1))
        num_pos = max(mean_over_ranks(num_pos, device), 1.0)
        normalised = bbox_xyxy_to_cxcywh(gt_boxes / targets.pos_sizes)
        return dict(
            cls=loss_cls,
            bbox=self.loss_bbox(boxes, normalised, avg_factor=num_pos),
            iou=self.loss_iou(corners, gt_boxes, avg_factor=num_pos),
        )

    def class_loss(self, cls_score: Tensor, pos_bboxes: Tensor, targets: QueryTargets, avg_factor: float) -> Tensor:
        """Classification loss of all queries; the positives' boxes (P, 4) are xyxy in pixels."""
        labels, weights = targets.labels.flatten(), targets.weights.flatten()
        if isinstance(self.loss_cls, QualityFocalLoss):
            quality = weights.new_zeros(len(labels))
            quality[targets.pos_inds] = bbox_overlaps(pos_bboxes.detach(), targets.pos_gt_bboxes, is_aligned=True)
            labels = (labels, quality)
        return self.loss_cls(cls_score.flatten(0, 1), labels, weights, avg_factor=avg_factor)

    def predict(self, outs: QueryOutputs, samples: SampleList, rescale: bool = True) -> list[InstanceData]:
        """The best objects of each image: ``bboxes`` (n, 4) xyxy in pixels, ``scores`` falling, ``labels``."""
        last = len(outs.hidden_states) - 1
        reference = outs.references[last] if outs.references else None
        cls_score, bbox_pred = float32_if_half(*self.predict_layer(last, outs.hidden_states[last], reference))
        return [self.select(*image, rescale) for image in zip(cls_score, bbox_pred, samples)]

    def select(self, logits: Tensor, boxes: Tensor, sample, rescale: bool) -> InstanceData:
        """The ``max_per_img`` best of logits (Q, classes) and boxes (Q, 4), an object for each query or class."""
        limit = self.test_cfg.get('max_per_img', len(logits))
        if self.use_sigmoid_cls:
            scores, inds = logits.sigmoid().flatten().topk(min(limit, logits.numel()))
            queries, labels = torch.div(inds, self.num_classes, rounding_mode='floor'), inds % self.num_classes
        else:
            best, label_of = logits.softmax(-1)[:, :-1].max(-1)
            scores, queries = best.topk(min(limit, len(best)))
            labels = label_of[queries]
        size = image_size(sample, boxes)
        boxes = (bbox_cxcywh_to_xyxy(boxes[queries]) * size).clamp(min=0).minimum(size)
        if rescale:
            boxes = scale_boxes(boxes, [1 / factor for factor in sample.scale_factor])
        return InstanceData(bboxes=boxes, scores=scores, labels=labels)


@MODELS.register_module()
class DETRHead(QueryHead):
    """A linear layer for classes and a small network for boxes, the same for all layers."""

    def _init_layers(self) -> None:
        dims, relu = self.embed_dims, dict(type='ReLU', inplace=True)
        self.fc_cls = nn.Linear(dims, self.cls_out_channels)
        self.reg_ffn = FFN(dims, dims, self.num_reg_fcs, act_cfg=relu, add_identity=False)
        self.fc_reg = nn.Linear(dims, 4)

    def predict_layer(self, layer: int, hidden: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes) and boxes (B, Q, 4) after a decoder layer."""
        return self.fc_cls(hidden), self.fc_reg(F.relu(self.reg_ffn(hidden))).sigmoid()


@MODELS.register_module()
class DeformableDETRHead(QueryHead):
    """A linear layer for classes and a small network that moves reference points, for every layer.

    Args:
        share_pred_layer: All layers share theirs; else each has its own.
        num_pred_layer: Decoder layers, and one more for the encoder's proposals with two stages.
        as_two_stage: The encoder proposes boxes.
        kwargs: See ``QueryHead``.
    """

    binary_proposals = True

    def __init__(
        self, *args, share_pred_layer: bool = False, num_pred_layer: int = 6, as_two_stage: bool = False, **kwargs
    ) -> None:
        self.share_pred_layer, self.num_pred_layer, self.as_two_stage = share_pred_layer, num_pred_layer, as_two_stage
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        dims = self.embed_dims
        cls_branch, reg_branch = nn.Linear(dims, self.cls_out_channels), mlp(dims, self.num_reg_fcs, 4)
        count, clone = self.num_pred_layer, (lambda m: m) if self.share_pred_layer else copy.deepcopy
        self.cls_branches = nn.ModuleList(clone(cls_branch) for _ in range(count))
        self.reg_branches = nn.ModuleList(clone(reg_branch) for _ in range(count))

    def init_weights(self) -> None:
        """Start with rare objects and with boxes that are their references, of a tenth of the image or as proposed."""
        super().init_weights()
        if self.use_sigmoid_cls:
            for branch in self.cls_branches:
                nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            constant_init(branch[-1], 0, bias=0)
        nn.init.constant_(self.reg_branches[0][-1].bias[2:], -2.0)
        if self.as_two_stage:
            for branch in self.reg_branches:
                nn.init.constant_(branch[-1].bias[2:], 0.0)

    def predict_layer(self, layer: int, hidden: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes) and boxes (B, Q, 4) after a decoder layer."""
        return self.cls_branches[layer](hidden), move(reference, self.reg_branches[layer](hidden))


@MODELS.register_module()
class DINOHead(DeformableDETRHead):
    """The head of Deformable DETR, whose encoder proposes boxes with classes."""

    binary_proposals = False


def build_class_loss(cfg: dict, num_classes: int) -> tuple[nn.Module, float]:
    """The classification loss and the weight of background in what it is divided by."""
    cfg = dict(cfg)
    background = cfg.pop('bg_cls_weight', None)
    if isinstance(cfg.get('class_weight'), (int, float)):
        background = cfg['class_weight'] if background is None else background
        cfg['class_weight'] = [cfg['class_weight']] * num_classes + [background]
        return MODELS.build(cfg), background
    return MODELS.build(cfg), 0.0


def image_size(sample, like: Tensor) -> Tensor:
    """(4,) width, height, width, height of an image."""
    height, width = sample.img_shape[:2]
    return like.new_tensor([width, height, width, height])


def query_targets(
    found: list[tuple[Tensor, Tensor]], samples: SampleList, num_queries: int, num_classes: int, binary: bool = False
) -> QueryTargets:
    """Targets from each image's positive queries and their objects, counted from 0."""
    device = found[0][0].device
    labels = torch.full((len(found), num_queries), num_classes, device=device)
    pos_inds, boxes, sizes = [], [], []
    for i, ((queries, objects), sample) in enumerate(zip(found, samples)):
        labels[i, queries] = 0 if binary else sample.gt_instances.labels[objects]
        pos_inds.append(queries + i * num_queries)
        boxes.append(get_box_tensor(sample.gt_instances.bboxes)[objects])
        sizes.append(image_size(sample, boxes[-1]).expand_as(boxes[-1]))
    pos_inds = torch.cat(pos_inds)
    weights = torch.ones(labels.shape, device=device)
    return QueryTargets(labels, weights, pos_inds, torch.cat(boxes), torch.cat(sizes), labels.numel() - len(pos_inds))


def denoising_targets(queries: DenoisingQueries, samples: SampleList, num_classes: int) -> QueryTargets:
    """Targets of denoising queries: positives know their objects, all others are background."""
    found = [queries.positives(len(sample.gt_instances)) for sample in samples]
    targets = query_targets(found, samples, queries.count, num_classes)
    targets.num_neg = len(targets.pos_inds)  # a negative for each positive, whatever the padding
    return targets
