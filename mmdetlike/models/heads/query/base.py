"""The one pipeline of query heads: predictions of every layer -> matching -> losses, or the best of the last layer.

DETR: End-to-End Object Detection with Transformers, arXiv 2005.12872; Deformable DETR, arXiv 2010.04159; DINO, arXiv
2203.03605.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.losses import check_class_weight
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcywh, geometry, scale_boxes
from mmdetlike.utils.dist import mean_over_ranks

from ..common import match_queries, prefix_losses, supervise_layers
from ..head import Head
from .common import (
    ENCODER,
    QueryContext,
    QueryOutputs,
    QueryTargets,
    build_class_loss,
    denoising_targets,
    query_targets,
    sample_of_one_class,
)

DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, class_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='L1Loss', loss_weight=5.0)
DEFAULT_LOSS_IOU = dict(type='GIoULoss', loss_weight=2.0)


class QueryHead(Head):
    """Base of the heads that predict one object for each query.

    A subclass makes its layers in ``build_layers`` and supplies ``classify`` and ``regress``. A head whose logits are
    not one for each class (but, say, one for each token of a text) says so in ``class_targets`` (what they should be)
    and ``class_logits`` (how to read classes from them).

    Args:
        num_classes: Classes without background.
        embed_dims: Channels of a query.
        num_reg_fcs: Hidden linear layers before the boxes.
        sync_cls_avg_factor: Average what the classification loss is divided by over processes.
        loss_cls: Classification loss; with softmax ``bg_cls_weight`` is the weight of background. ``ConfigError``
            where ``class_weight`` has another number of entries than there are classes.
        loss_bbox: Loss of boxes cx, cy, w, h in [0, 1].
        loss_iou: Loss of boxes in pixels.
        train_cfg: Settings of training: ``assigner``.
        test_cfg: Settings of testing: ``max_per_img``.
    """

    # whether the encoder's proposals learn objectness alone: all objects are of class 0 for them
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
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, train_cfg, test_cfg, init_cfg)
        self.embed_dims, self.num_reg_fcs = embed_dims, num_reg_fcs
        self.sync_cls_avg_factor = sync_cls_avg_factor
        self.loss_cls, self.bg_cls_weight = build_class_loss(loss_cls, num_classes)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_iou = MODELS.build(loss_iou)
        self.use_sigmoid_cls = getattr(self.loss_cls, 'use_sigmoid', False)
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        check_class_weight(self.loss_cls, self.cls_out_channels, type(self).__name__)
        self.build_layers()

    # -- what a family supplies ---------------------------------------------------------------------------------------

    def build_layers(self) -> None:
        """Hook: make the layers; called once at the end of the constructor, when all settings are there."""
        raise NotImplementedError

    def classify(self, layer: int, hidden: Tensor, context: QueryContext) -> Tensor:
        """Hook: class logits (B, Q, classes) of queries (B, Q, C) after a decoder layer."""
        raise NotImplementedError

    def regress(self, layer: int, hidden: Tensor, reference: Tensor | None) -> Tensor:
        """Hook: boxes (B, Q, 4) cx, cy, w, h in [0, 1] of queries (B, Q, C) after a decoder layer."""
        raise NotImplementedError

    def class_targets(self, targets: QueryTargets, context: QueryContext) -> Tensor:
        """Hook: what the class logits should be, as labels (B, Q) or as soft targets (B, Q, classes) in [0, 1]."""
        return targets.labels

    def class_logits(self, cls_score: Tensor, context: QueryContext) -> Tensor:
        """Hook: logits of the classes, which objects are matched and ranked by, from what ``classify`` returns."""
        return cls_score

    # -- predictions --------------------------------------------------------------------------------------------------

    def predict_layer(
        self, layer: int, hidden: Tensor, reference: Tensor | None, context: QueryContext
    ) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes) and boxes (B, Q, 4) cx, cy, w, h in [0, 1] after a decoder layer."""
        return self.classify(layer, hidden, context), self.regress(layer, hidden, reference)

    def forward(self, outs: QueryOutputs) -> list[tuple[Tensor, Tensor]]:
        """Class logits and boxes of every decoder layer, in float32 also under autocast."""
        # costs and IoUs of half precision boxes in pixels would be off by pixels
        pairs = enumerate(zip(outs.hidden_states, outs.references))
        return [float32_if_half(*self.predict_layer(i, hidden, ref, outs.context)) for i, (hidden, ref) in pairs]

    # -- training -----------------------------------------------------------------------------------------------------

    def loss(self, outs: QueryOutputs) -> dict[str, Tensor]:
        """Loss terms of all layers: ``loss_*`` of the last one, ``d0.loss_*``, ... of the others.

        Terms of the encoder's proposals begin with ``enc_``, those of denoising queries with ``dn_``.
        """
        layers = self(outs)
        context = outs.context
        num_noisy = outs.num_denoising
        matched = [
            (cls_score[:, num_noisy:], bbox_pred[:, num_noisy:], outs.candidates(i))
            for i, (cls_score, bbox_pred) in enumerate(layers)
        ]
        losses = supervise_layers(matched, partial(self.matched_losses, context=context))
        if outs.enc_cls_score is not None:
            proposals = float32_if_half(outs.enc_cls_score, outs.enc_bbox_pred)
            terms = self.encoder_losses(*proposals, outs.candidates(ENCODER), context)
            losses.update(prefix_losses(terms, prefix='enc_'))
        if outs.denoising is not None:
            # also where there are no objects: all processes of a training must compute the same terms
            targets = denoising_targets(outs.denoising, context.samples, self.num_classes)
            noisy = [(cls_score[:, :num_noisy], bbox_pred[:, :num_noisy]) for cls_score, bbox_pred in layers]
            compute_terms = partial(self.losses, targets=targets, context=context)
            losses.update(supervise_layers(noisy, compute_terms, prefix='dn_'))
        return losses

    def matched_losses(
        self, cls_score: Tensor, bbox_pred: Tensor, candidates: Tensor | None, context: QueryContext
    ) -> dict[str, Tensor]:
        """Loss terms of queries that are matched with objects; arguments of ``match``."""
        targets = self.match(cls_score, bbox_pred, candidates, context)
        return self.losses(cls_score, bbox_pred, targets, context)

    def encoder_losses(
        self, cls_score: Tensor, bbox_pred: Tensor, candidates: Tensor | None, context: QueryContext
    ) -> dict[str, Tensor]:
        """Loss terms of the encoder's proposals; arguments of ``match``."""
        if self.binary_proposals:
            context = replace(context, samples=[sample_of_one_class(sample) for sample in context.samples])
        return self.matched_losses(cls_score, bbox_pred, candidates, context)

    @torch.no_grad()
    def match(
        self, cls_score: Tensor, bbox_pred: Tensor, candidates: Tensor | None, context: QueryContext
    ) -> QueryTargets:
        """One query for each object.

        They are compared by what ``classify`` returns and by boxes (B, Q, 4) cx, cy, w, h in [0, 1]. ``candidates``
        (B, Q) says which queries take part; None for all.
        """
        samples = context.samples
        if candidates is None:
            candidates = torch.ones(cls_score.shape[:2], dtype=torch.bool, device=cls_score.device)
        preds = []
        for logits, boxes, own, sample in zip(self.class_logits(cls_score, context), bbox_pred, candidates, samples):
            bboxes = bbox_cxcywh_to_xyxy(boxes[own]) * geometry.image_sides(sample.img_shape, boxes)
            preds.append(InstanceData(scores=logits[own], bboxes=bboxes))
        gts = [self.objects_to_match(sample) for sample in samples]
        matches = match_queries(self.assigner, preds, gts, samples)
        # the assigner has seen the candidates alone: from an index among them to one among all queries
        matches = [(own.nonzero().squeeze(1)[queries], objects) for own, (queries, objects) in zip(candidates, matches)]
        return query_targets(matches, samples, candidates, self.num_classes)

    def objects_to_match(self, sample: DetDataSample) -> InstanceData:
        """Hook: what the costs of the assigner see of an image's objects."""
        geometry.require_horizontal(sample.gt_instances.bboxes, type(self).__name__)
        return sample.gt_instances

    def losses(
        self, cls_score: Tensor, bbox_pred: Tensor, targets: QueryTargets, context: QueryContext
    ) -> dict[str, Tensor]:
        """Loss terms of a layer: ``cls`` of all queries, ``bbox`` and ``iou`` of the positives."""
        terms = self.class_terms(cls_score, bbox_pred, targets, context)
        return terms | self.box_terms(bbox_pred, targets)

    def class_terms(
        self, cls_score: Tensor, bbox_pred: Tensor, targets: QueryTargets, context: QueryContext
    ) -> dict[str, Tensor]:
        """The loss term ``cls`` of all queries."""
        # softmax weighs background down, so a negative counts by that weight; with a sigmoid positives alone count
        weight_sum = len(targets.pos_inds) + targets.num_neg * self.bg_cls_weight
        synced = self.sync_cls_avg_factor
        avg_factor = mean_over_ranks(weight_sum, cls_score.device, least=1) if synced else max(weight_sum, 1)
        corners = bbox_cxcywh_to_xyxy(bbox_pred.flatten(0, 1)[targets.pos_inds]) * targets.pos_sizes
        return dict(cls=self.class_loss(cls_score, corners, targets, context, avg_factor))

    def box_terms(self, bbox_pred: Tensor, targets: QueryTargets) -> dict[str, Tensor]:
        """The loss terms ``bbox`` and ``iou`` of the positives."""
        boxes = bbox_pred.flatten(0, 1)[targets.pos_inds]
        corners = bbox_cxcywh_to_xyxy(boxes) * targets.pos_sizes
        num_pos = mean_over_ranks(len(targets.pos_inds), boxes.device, least=1.0)
        # L1 in [0, 1], so that large images don't weigh more; IoU in pixels, whose eps is made for them
        normalized = bbox_xyxy_to_cxcywh(targets.pos_gt_bboxes / targets.pos_sizes)
        return dict(
            bbox=self.loss_bbox(boxes, normalized, avg_factor=num_pos),
            iou=self.loss_iou(corners, targets.pos_gt_bboxes, avg_factor=num_pos),
        )

    def class_loss(
        self,
        cls_score: Tensor,
        pos_bboxes: Tensor,
        targets: QueryTargets,
        context: QueryContext,
        avg_factor: float,
    ) -> Tensor:
        """Classification loss of all queries; the boxes of the positives, ``pos_bboxes`` (P, 4), are xyxy in pixels."""
        weights = targets.weights.flatten()
        class_targets = self.class_targets(targets, context).flatten(0, 1)
        if getattr(self.loss_cls, 'takes_quality', False):
            # a score should say how well the box fits, so the target follows the box; no gradient flows back there
            quality = weights.new_zeros(len(weights))
            quality[targets.pos_inds] = bbox_overlaps(pos_bboxes.detach(), targets.pos_gt_bboxes, is_aligned=True)
            is_soft = class_targets.dim() == 2
            class_targets = class_targets * quality[:, None] if is_soft else (class_targets, quality)
        return self.loss_cls(cls_score.flatten(0, 1), class_targets, weights, avg_factor=avg_factor)

    # -- testing ------------------------------------------------------------------------------------------------------

    def predict(self, outs: QueryOutputs, rescale: bool = True) -> list[InstanceData]:
        """The best objects of each image: ``bboxes`` (n, 4) xyxy in pixels, descending ``scores``, ``labels``."""
        samples = outs.context.samples
        results = []
        for found, sample in zip(self.detect(outs, [sample.img_shape for sample in samples]), samples):
            boxes = found.pop('boxes')
            if rescale:
                boxes = scale_boxes(boxes, [1 / factor for factor in sample.scale_factor])
            results.append(InstanceData(bboxes=boxes, **found))
        return results

    def detect(self, outs: QueryOutputs, img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """The best objects of images of ``img_shapes``, of tensors alone, in pixels of the input; see ``select``."""
        last = len(outs.hidden_states) - 1
        num_noisy = outs.num_denoising
        layer = self.predict_layer(last, outs.hidden_states[last], outs.references[last], outs.context)
        cls_score, bbox_pred = float32_if_half(*layer)
        logits = self.class_logits(cls_score[:, num_noisy:], outs.context)
        boxes = bbox_pred[:, num_noisy:]
        candidates = outs.candidates(last)
        if candidates is not None:
            logits = [image[own] for image, own in zip(logits, candidates)]
            boxes = [image[own] for image, own in zip(boxes, candidates)]
        return [self.select(*image) for image in zip(logits, boxes, img_shapes)]

    def select(self, logits: Tensor, boxes: Tensor, img_shape: tuple[int, int]) -> dict[str, Tensor]:
        """The ``max_per_img`` best of logits (Q, classes) and boxes (Q, 4) cx, cy, w, h in [0, 1].

        With softmax there is one object for each query; with sigmoid, one for each query and class. They have ``boxes``
        (n, 4) xyxy in pixels, clipped to the height and width of the image, descending ``scores`` (n,), ``labels`` (n,)
        and, with ``return_all_scores`` in ``test_cfg``, ``all_scores`` (n, classes).
        """
        limit = self.test_cfg.get('max_per_img', len(logits))
        if self.use_sigmoid_cls:
            all_scores = logits.sigmoid()
            scores, indices = all_scores.flatten().topk(min(limit, logits.numel()))
            # the flattened index counts classes of a query first
            queries = torch.div(indices, logits.shape[1], rounding_mode='floor')
            labels = indices % logits.shape[1]
        else:
            # background is the last class, and no result
            all_scores = logits.softmax(-1)[:, :-1]
            best, label_of = all_scores.max(-1)
            scores, queries = best.topk(min(limit, len(best)))
            labels = label_of[queries]
        size = geometry.image_sides(img_shape, boxes)
        boxes = (bbox_cxcywh_to_xyxy(boxes[queries]) * size).clamp(min=0).minimum(size)
        found = dict(boxes=boxes, scores=scores, labels=labels)
        if self.test_cfg.get('return_all_scores', False):
            found['all_scores'] = all_scores[queries]
        return found
