"""What query heads share: the data that transformer and head exchange, and the targets of matched queries."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import AttentionMask
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import geometry, get_box_tensor

from ..common import as_one_class
from .denoising import DenoisingQueries

# stands for the encoder where decoder layers are counted from 0
ENCODER = -1


@dataclass
class QueryContext:
    """What is known of a batch beside its feature maps, for whatever part of a query detector asks.

    A detector that is conditioned on more than the image, e.g. on text, inherits from this class and makes it in
    ``DetectionTransformer.build_context``.

    Attributes:
        samples: A sample for each image, in training and in testing; None in ``mode='tensor'`` without samples.
        padding_masks: (B, H, W) True for padding of the images; None where there is none.
    """

    samples: SampleList | None = None
    padding_masks: Tensor | None = None

    @property
    def has_objects(self) -> bool:
        """Whether the samples are annotated, so that something can be learned from them."""
        return self.samples is not None and all('gt_instances' in sample for sample in self.samples)


@dataclass
class InitialQueries:
    """The queries before the first decoder layer.

    Attributes:
        content: (B, Q, C) content of the queries.
        positions: (B, Q, C) their positions; None where the decoder makes them from references.
        references: (B, Q, 2) x, y or (B, Q, 4) cx, cy, w, h in [0, 1]; None where queries have none.
        attn_mask: (Q, Q) True where a query must not look at another, or what makes such a mask before each layer (see
            ``TransformerDecoder.forward``); None where all see all.
        enc_cls_score, enc_bbox_pred, denoising: As of ``QueryOutputs``.
    """

    content: Tensor
    positions: Tensor | None = None
    references: Tensor | None = None
    attn_mask: AttentionMask = None
    enc_cls_score: Tensor | None = None
    enc_bbox_pred: Tensor | None = None
    denoising: DenoisingQueries | None = None


@dataclass
class QueryOutputs:
    """What the transformer of a query-based detector hands to its head.

    Attributes:
        hidden_states: Queries (B, Q, C) after each decoder layer.
        references: What the boxes of each layer are relative to, (B, Q, 2 or 4) in [0, 1]; None where boxes are
            absolute.
        context: What is known of the batch beside its feature maps.
        enc_cls_score: (B, S, classes) logits of the encoder's proposals; None without two stages.
        enc_bbox_pred: (B, S, 4) their boxes, cx, cy, w, h in [0, 1].
        denoising: The noisy objects that the first queries are made of; None without denoising.
    """

    hidden_states: list[Tensor]
    references: list[Tensor | None]
    context: QueryContext = field(default_factory=QueryContext)
    enc_cls_score: Tensor | None = None
    enc_bbox_pred: Tensor | None = None
    denoising: DenoisingQueries | None = None

    @property
    def num_denoising(self) -> int:
        """Number of denoising queries, which come before those that are matched."""
        return 0 if self.denoising is None else self.denoising.count

    def candidates(self, layer: int) -> Tensor | None:
        """Hook: which queries (B, Q) to match may be objects in a layer, or in ``ENCODER``; None for all of them."""
        return None


@dataclass
class QueryTargets:
    """What queries should predict; P positives among the B * Q queries.

    Attributes:
        labels: (B, Q) class of each query, ``num_classes`` for background.
        weights: (B, Q) weight of each query in the classification loss.
        pos_inds: (P,) indices of the positives in the flattened (B * Q) queries.
        pos_gt_inds: (P,) index of the object of each positive in its image.
        pos_gt_bboxes: (P, 4) boxes of these objects, xyxy in pixels.
        pos_sizes: (P, 4) width, height, width, height of their images.
        num_neg: Number of negatives.
    """

    labels: Tensor
    weights: Tensor
    pos_inds: Tensor
    pos_gt_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_sizes: Tensor
    num_neg: int


def sample_of_one_class(sample: DetDataSample) -> DetDataSample:
    """The sample with all objects in class 0."""
    one_class = sample.new()
    one_class.gt_instances = as_one_class(sample.gt_instances)
    return one_class


def query_targets(
    matches: Sequence[tuple[Tensor, Tensor]], samples: SampleList, candidates: Tensor, num_classes: int
) -> QueryTargets:
    """Targets of queries, of which ``matches`` has for each image the positives and the index of the object of each.

    ``candidates`` (B, Q) says which queries take part; others weigh nothing and are no negatives.
    """
    num_queries = candidates.shape[1]
    device = candidates.device
    labels = torch.full(candidates.shape, num_classes, device=device)
    pos_inds, boxes, sizes = [], [], []
    for i, ((queries, objects), sample) in enumerate(zip(matches, samples)):
        labels[i, queries] = sample.gt_instances.labels[objects]
        pos_inds.append(queries + i * num_queries)
        gt_bboxes = geometry.require_horizontal(get_box_tensor(sample.gt_instances.bboxes), 'A head of queries')
        boxes.append(gt_bboxes[objects])
        sizes.append(geometry.image_sides(sample.img_shape, boxes[-1]).expand_as(boxes[-1]))
    pos_inds = torch.cat(pos_inds)
    return QueryTargets(
        labels=labels,
        weights=candidates.float(),
        pos_inds=pos_inds,
        pos_gt_inds=torch.cat([objects for _, objects in matches]),
        pos_gt_bboxes=torch.cat(boxes),
        pos_sizes=torch.cat(sizes),
        num_neg=int(candidates.sum()) - len(pos_inds),
    )


def denoising_targets(queries: DenoisingQueries, samples: SampleList, num_classes: int) -> QueryTargets:
    """Targets of denoising queries: positives know their objects, all others are background."""
    matches = [queries.positives(len(sample.gt_instances)) for sample in samples]
    all_queries = queries.boxes.new_ones(queries.boxes.shape[:2], dtype=torch.bool)
    targets = query_targets(matches, samples, all_queries, num_classes)
    # each positive has one negative of its own; what pads images with fewer objects doesn't count
    targets.num_neg = len(targets.pos_inds)
    return targets


def build_class_loss(cfg: dict, num_classes: int) -> tuple[nn.Module, float]:
    """Build a classification loss, and find the weight of background in what the loss is divided by.

    That is ``bg_cls_weight`` or ``class_weight`` where ``class_weight`` is a number, as it is with softmax; else 0.
    """
    cfg = dict(cfg)
    # an argument of the head rather than of the loss, though configs write it there
    background = cfg.pop('bg_cls_weight', None)
    if isinstance(cfg.get('class_weight'), (int, float)):
        background = cfg['class_weight'] if background is None else background
        cfg['class_weight'] = [cfg['class_weight']] * num_classes + [background]
        return MODELS.build(cfg), background
    return MODELS.build(cfg), 0.0
