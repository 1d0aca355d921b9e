"""Distinct queries and the head of DDQ-DETR: Dense Distinct Query for End-to-End Object Detection, arXiv 2303.12776."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import refine_references
from mmdetlike.models.losses import GIoULoss, QualityFocalLoss
from mmdetlike.models.task_modules.assigners import HungarianAssigner
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps, geometry, get_box_tensor
from mmdetlike.utils.dist import mean_over_ranks
from mmdetlike_ops import batched_nms

from ..common import match_queries
from .common import ENCODER, InitialQueries, QueryContext, QueryOutputs
from .deformable_detr_head import DINOHead

MATCH_COSTS = (
    dict(type='FocalLossCost', weight=2.0),
    dict(type='BBoxL1Cost', weight=5.0),
    dict(type='IoUCost', iou_mode='giou', weight=2.0),
)


class DistinctQueries:
    """Before each decoder layer, hides those queries from each other whose boxes better queries suppress.

    One-to-one matching gives one of several alike queries an object and calls the others background, which no network
    can tell apart. Between distinct queries it can.

    Called as the decoder's ``self_attn_mask``; ``candidates`` holds, for each layer that has run, which queries may be
    objects.

    Args:
        classify: (layer, queries (B, Q, C)) -> class logits (B, Q, classes).
        nms_cfg: Arguments of ``batched_nms``, applied to boxes of all classes at once.
        num_heads: Heads of self-attention.
        matching: Which of all N queries are the Q to match.
        present: (B, N) False for queries that only pad images with fewer proposals.
        attn_mask: (N, N) True where a query must not look at another.
    """

    def __init__(
        self,
        classify: Callable[[int, Tensor], Tensor],
        nms_cfg: dict,
        num_heads: int,
        matching: slice,
        present: Tensor,
        attn_mask: Tensor,
    ) -> None:
        self.classify, self.nms_cfg, self.num_heads = classify, nms_cfg, num_heads
        self.matching = matching
        # padding is seen by nothing, and sees all: attention to nothing has no value
        self.attn_mask = (attn_mask | ~present[:, None]) & present[:, :, None]
        self.present = present[:, matching]
        self.candidates: list[Tensor] = []

    def __call__(self, layer: int, query: Tensor, references: Tensor) -> Tensor:
        """The mask (B * heads, N, N) of self-attention in a layer, of all queries (B, N, C) before it."""
        kept = self.present
        if layer > 0:
            logits = self.classify(layer - 1, query[:, self.matching])
            kept = distinct(logits, references[:, self.matching], self.nms_cfg, self.candidates[-1])
        # As recorded of the original, which reads from the first row of its mask who may be an object: suppressed
        # queries are left out only where the first query, the best proposal, has been suppressed itself.
        self.candidates.append(kept | (kept[:, :1] & self.present))
        # suppressed queries see those that are left and are seen by them, but don't see each other
        mask = self.attn_mask.clone()
        mask[:, self.matching, self.matching] |= ~kept[:, :, None] & ~kept[:, None] & self.present[:, :, None]
        return mask.repeat_interleave(self.num_heads, dim=0)


@torch.no_grad()
def distinct(logits: Tensor, boxes: Tensor, nms_cfg: dict, candidates: Tensor | None = None) -> Tensor:
    """Which boxes (B, Q, 4) cx, cy, w, h of each image no better one suppresses by ``batched_nms``, (B, Q) bool.

    A box is as good as the best of its ``logits`` (B, Q, classes). ``candidates`` (B, Q) take part; None for all.
    """
    scores = logits.max(-1).values.sigmoid().float()
    if candidates is not None:
        # ranked last, they suppress nothing but each other; leaving them out would make shapes depend on their number
        scores = torch.where(candidates, scores, -1.0)
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for image, image_scores, image_boxes in zip(kept, scores, bbox_cxcywh_to_xyxy(boxes).float()):
        one_class = torch.zeros(len(image_scores), dtype=torch.long, device=scores.device)
        image[batched_nms(image_boxes, image_scores, one_class, nms_cfg, class_agnostic=True)[1]] = True
    return kept if candidates is None else kept & candidates


@dataclass(kw_only=True)
class DistinctProposals:
    """What queries and outputs of DDQ hold beside those of other detectors.

    Attributes:
        selection: Chooses distinct queries before each decoder layer.
        dense_cls_score: (B, D, classes) logits of the dense proposals; None in testing.
        dense_bbox_pred: (B, D, 4) their boxes, cx, cy, w, h in [0, 1].
        dense_present: (B, D) False for what pads images with fewer proposals.
    """

    selection: DistinctQueries | None = None
    dense_cls_score: Tensor | None = None
    dense_bbox_pred: Tensor | None = None
    dense_present: Tensor | None = None


@dataclass
class DDQQueries(DistinctProposals, InitialQueries):
    """First queries: denoising, distinct and, in training, ``num_dense`` = D dense ones, in this order."""

    num_dense: int = 0


@dataclass
class DDQOutputs(DistinctProposals, QueryOutputs):
    """What the transformer of DDQ hands to its head.

    Attributes:
        dense_hidden_states: Dense queries (B, D, C) after each decoder layer; empty in testing.
        dense_references: (B, D, 4) what their boxes are relative to.
    """

    dense_hidden_states: Sequence[Tensor] = field(default_factory=list)
    dense_references: Sequence[Tensor] = field(default_factory=list)

    def candidates(self, layer: int) -> Tensor:
        """The queries (B, Q) that are distinct in a decoder layer."""
        return self.selection.present if layer == ENCODER else self.selection.candidates[layer]


class DenseQueryLoss:
    """Several queries learn from each object: the better one fits, the higher its score should be.

    Scores learn the alignment of score and overlap (TOOD, arXiv 2108.07755); boxes are weighted by it. There are
    ``num_pos`` queries for each object, fewer where there are not enough.
    """

    def __init__(self, num_pos: int) -> None:
        self.num_pos = num_pos
        self.assigner = HungarianAssigner(MATCH_COSTS)
        self.loss_cls = QualityFocalLoss(beta=2.0)
        self.loss_bbox = GIoULoss(loss_weight=2.0)

    def __call__(
        self, cls_score: Tensor, bbox_pred: Tensor, present: Tensor, samples: SampleList
    ) -> dict[str, list[Tensor]]:
        """Terms ``cls`` and ``bbox``, each one value for an image, of logits (B, D, classes) and boxes (B, D, 4).

        Boxes are cx, cy, w, h in [0, 1]. ``present`` (B, D) is False for what pads images with fewer queries.
        """
        of_images = []
        for logits, boxes, own, sample in zip(cls_score, bbox_pred, present, samples):
            boxes = bbox_cxcywh_to_xyxy(boxes[own]) * geometry.image_sides(sample.img_shape, boxes)
            of_images.append(self.image_losses(logits[own], boxes, sample))
        losses_cls, losses_bbox, alignments = zip(*of_images)
        # both are means over positives, each of which counts as much as it is aligned
        divisor = mean_over_ranks(sum(alignments), cls_score.device, least=1.0)
        return dict(cls=[loss / divisor for loss in losses_cls], bbox=[loss / divisor for loss in losses_bbox])

    def image_losses(self, logits: Tensor, boxes: Tensor, sample: DetDataSample) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of an image's losses and alignments, of logits (D, classes) and boxes (D, 4) xyxy in pixels."""
        queries, objects = self.assign(logits, boxes, sample)
        gt_labels = sample.gt_instances.labels[objects]
        gt_boxes = get_box_tensor(sample.gt_instances.bboxes)[objects]
        alignment = self.alignment(logits[queries], boxes[queries], gt_boxes, gt_labels, objects)
        labels = torch.full((len(logits),), logits.shape[1], device=logits.device)
        labels[queries] = gt_labels
        quality = logits.new_zeros(len(logits))
        quality[queries] = alignment
        loss_cls = self.loss_cls(logits, (labels, quality), reduction_override='sum')
        loss_bbox = self.loss_bbox(boxes[queries], gt_boxes, alignment, reduction_override='sum')
        return loss_cls, loss_bbox, alignment.sum()

    @torch.no_grad()
    def assign(self, logits: Tensor, boxes: Tensor, sample: DetDataSample) -> tuple[Tensor, Tensor]:
        """The positive queries (p,) of an image and the index of the object of each."""
        gt_instances = sample.gt_instances
        num_objects = len(gt_instances)
        # a one-to-one assignment of copies of an object gives it several queries
        copies = min(self.num_pos, len(logits) // max(num_objects, 1))
        labels = gt_instances.labels.repeat(copies)
        gt_boxes = get_box_tensor(gt_instances.bboxes).repeat(copies, 1)
        # As recorded of the original, the class cost takes probabilities for its logits: classes weigh less than boxes.
        preds = InstanceData(scores=logits.sigmoid(), bboxes=boxes)
        gts = InstanceData(labels=labels, bboxes=gt_boxes)
        ((queries, matched),) = match_queries(self.assigner, [preds], [gts], [sample])
        return queries, matched % max(num_objects, 1)

    @torch.no_grad()
    def alignment(self, logits: Tensor, boxes: Tensor, gt_boxes: Tensor, gt_labels: Tensor, objects: Tensor) -> Tensor:
        """How well each of p positives fits its object, (p,) in [0, 1].

        The best one of each object counts as much as the largest overlap of the object's queries.
        """
        scores = logits.sigmoid().gather(1, gt_labels[:, None]).squeeze(1)
        overlaps = bbox_overlaps(boxes, gt_boxes, is_aligned=True)
        metric = scores * overlaps**6  # the exponents alpha=1 and beta=6 of TOOD
        zeros = metric.new_zeros(len(objects))  # at least as many as there are objects with positives
        best_metric = zeros.scatter_reduce(0, objects, metric, 'amax')
        best_overlap = zeros.scatter_reduce(0, objects, overlaps, 'amax')
        # normalized as in TOOD; the eps is for an object whose queries all have a metric of 0
        return metric / (best_metric[objects] + 1e-7) * best_overlap[objects]


@MODELS.register_module()
class DDQDETRHead(DINOHead):
    """The head of DINO, and a second one for dense queries, of which several learn from each object.

    Dense queries are there in training only. They teach encoder and decoder what all queries near an object see.

    Args:
        aux_num_pos: Number of dense queries that learn from an object.
        kwargs: Other arguments of ``DeformableDETRHead``.
    """

    def __init__(self, num_classes: int, aux_num_pos: int = 4, **kwargs) -> None:
        super().__init__(num_classes, **kwargs)
        self.aux_loss_for_dense = DenseQueryLoss(aux_num_pos)

    def build_layers(self) -> None:
        """Branches of DINO, one more for dense proposals, and for each layer another one for dense queries."""
        super().build_layers()
        layers = self.num_pred_layer - 1
        # behind the branch of the encoder, as in checkpoints
        self.cls_branches.append(copy.deepcopy(self.cls_branches[-1]))
        self.reg_branches.append(copy.deepcopy(self.reg_branches[-1]))
        self.aux_cls_branches = nn.ModuleList(copy.deepcopy(branch) for branch in self.cls_branches[:layers])
        self.aux_reg_branches = nn.ModuleList(copy.deepcopy(branch) for branch in self.reg_branches[:layers])

    def init_weights(self) -> None:
        """Branches of dense queries start as the others do."""
        super().init_weights()
        layers = self.num_pred_layer - 1
        self.aux_cls_branches.load_state_dict(self.cls_branches[:layers].state_dict())
        self.aux_reg_branches.load_state_dict(self.reg_branches[:layers].state_dict())

    def propose_dense(self, memory: Tensor, anchors: Tensor, context: QueryContext) -> tuple[Tensor, Tensor]:
        """See ``propose``, with networks that learn from several proposals for each object."""
        dense = self.num_pred_layer
        return self.classify(dense, memory, context), self.reg_branches[dense](memory) + anchors

    def loss(self, outs: DDQOutputs) -> dict[str, Tensor | list[Tensor]]:
        """See ``QueryHead``; terms of dense queries begin with the layer and ``_aux_``, or with ``aux_enc_``."""
        predictions = {}
        for layer, (hidden, reference) in enumerate(zip(outs.dense_hidden_states, outs.dense_references)):
            bbox_pred = refine_references(reference, self.aux_reg_branches[layer](hidden))
            predictions[f'{layer}_aux'] = (self.aux_cls_branches[layer](hidden), bbox_pred)
        if outs.dense_cls_score is not None:
            predictions['aux_enc'] = (outs.dense_cls_score, outs.dense_bbox_pred)
        losses = super().loss(outs)
        for prefix, layer in predictions.items():
            terms = self.aux_loss_for_dense(*float32_if_half(*layer), outs.dense_present, outs.context.samples)
            # names of the original's log, which is why 'aux' is there twice
            losses.update({f'{prefix}_aux_loss_{name}': value for name, value in terms.items()})
        return losses
